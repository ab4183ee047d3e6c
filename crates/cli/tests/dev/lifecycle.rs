//! It comes up, and whatever way it ends, nothing is left.

use rustix::process::Signal;

use crate::fleet::{Fleet, alive, entries};

#[test]
fn quit_leaves_no_process_and_no_directory() {
    let mut fleet = Fleet::running(&[]);
    let text = fleet.said.join("\n");
    for want in [
        "starting 3 replicas in ",
        "replica c: clients 127.0.0.1:",
        "status page http://127.0.0.1:",
        "leader ",
        "demo catalog: database demo with 3 collections",
        "quorate status --seeds 127.0.0.1:",
    ] {
        assert!(text.contains(want), "{want} is missing in\n{text}");
    }
    fleet.until("all 8 workers have their sessions");
    assert_eq!(entries(fleet.temporary.path()).len(), 1);
    fleet.say("quit");
    fleet.ends_clean();
}

#[test]
fn signals_leave_nothing_either() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut fleet = Fleet::running(&["--replicas", "1", "--workers", "1"]);
        fleet.signal(signal);
        fleet.ends_clean();
    }
}

#[test]
fn a_signal_during_the_start_leaves_nothing() {
    let mut fleet = Fleet::start(&[]);
    fleet.until("runs, pid");
    fleet.signal(Signal::INT);
    fleet.ends_clean();
}

#[test]
fn a_paused_replica_is_not_left_behind() {
    let mut fleet = Fleet::running(&["--workers", "0"]);
    fleet.say("pause leader");
    fleet.until("pause ");
    fleet.signal(Signal::TERM);
    fleet.ends_clean();
}

#[test]
fn replicas_end_with_a_command_that_was_killed() {
    let mut fleet = Fleet::running(&["--replicas", "1", "--workers", "0"]);
    let pids = fleet.pids();
    fleet.signal(Signal::KILL);
    assert_eq!(fleet.ended().code(), None);
    let began = std::time::Instant::now();
    while !alive(&pids).is_empty() {
        assert!(began.elapsed().as_secs() < 60, "{pids:?} live on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn the_end_of_the_input_ends_nothing() {
    let mut fleet = Fleet::start(&["--replicas", "1", "--workers", "1"]);
    fleet.hush();
    fleet.until("all 1 workers have their sessions");
    fleet.signal(Signal::TERM);
    fleet.ends_clean();
}

#[test]
fn an_output_that_nobody_reads_ends_it() {
    let mut fleet = Fleet::running(&["--replicas", "1", "--workers", "0"]);
    fleet.look_away();
    fleet.ends_clean();
}

#[test]
fn a_given_directory_is_kept_and_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("cluster");
    let flags = ["--workers", "2", "--dir", path.to_str().unwrap()];
    let mut fleet = Fleet::running(&flags);
    let mut second = Fleet::start(&flags);
    assert_eq!(second.ended().code(), Some(1), "the directory is in use");
    fleet.say("quit");
    fleet.ends_clean();
    assert!(
        fleet
            .said
            .iter()
            .any(|line| line.contains("data and logs are kept")),
        "{:?}",
        fleet.said
    );

    let mut again = Fleet::running(&flags);
    let seeds = |fleet: &Fleet| {
        fleet
            .said
            .iter()
            .find_map(|line| line.split_once("seeds ").map(|(_, s)| s.to_owned()))
    };
    assert_eq!(seeds(&fleet), seeds(&again));
    again.until("all 2 workers have their sessions");
    again.say("quit");
    again.ends_clean();
    assert!(path.join("a/data").exists());

    let mut other_size = Fleet::start(&["--replicas", "5", "--dir", path.to_str().unwrap()]);
    assert_eq!(other_size.ended().code(), Some(2));
}

#[test]
fn a_temporary_directory_can_be_kept() {
    let mut fleet = Fleet::running(&["--replicas", "1", "--workers", "0", "--keep"]);
    fleet.say("quit");
    let pids = fleet.pids();
    assert_eq!(fleet.ended().code(), Some(0));
    assert_eq!(alive(&pids), Vec::<u32>::new());
    assert_eq!(entries(fleet.temporary.path()).len(), 1);
}
