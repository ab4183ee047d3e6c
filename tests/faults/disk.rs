//! Disks that are full: the replica stops and says so, the others go on, and it comes back when there is room again.

use quorate_testkit::room::Room;

use crate::Test;
use crate::support::{LONG, Running, on_group, plan};

pub(crate) const TESTS: &[Test] = &[
    ("a_full_disk_stops_a_follower_alone", full_disk_of_a_follower),
    (
        "a_full_disk_stops_a_leader_and_another_takes_over",
        full_disk_of_the_leader,
    ),
];

/// Fills the disk of the host that `choose` names; the group must go on without it, and with it later.
fn full_disk(choose: impl Fn(&Running, usize) -> usize + Sync) {
    let rooms = [(); 3].map(|()| Room::new(64).unwrap());
    let plan = (0..3).fold(plan(), |plan, host| {
        plan.data_dir(host, rooms[host].path().join("data"))
    });
    on_group(plan, async |group| {
        let leader = group.ready(&group.all()).await;
        let full = choose(group, leader);
        let load = group.load().await;
        load.progress(100, LONG).await.unwrap();
        rooms[full].fill().unwrap();
        let code = group.processes()[full].exited(LONG).await.unwrap();
        let log = group.processes()[full].log();
        let last = log.lines().last().unwrap_or_default();
        println!("it said: {last}");
        assert_eq!(code, Some(4), "stopped by a fault; it said: {last}");
        assert!(
            last.starts_with("quorate: ") && last.to_lowercase().contains("space"),
            "{last}"
        );
        group.ready(&group.others(&[full])).await;
        load.progress(200, LONG).await.unwrap();

        // Starting again without room is refused, not half done.
        group.processes()[full].start().unwrap();
        let code = group.processes()[full].exited(LONG).await.unwrap();
        let log = group.processes()[full].log();
        let last = log.lines().last().unwrap_or_default();
        println!("started again, it said: {last}");
        assert!(code == Some(1) || code == Some(4), "{code:?}: {last}");
        assert!(
            last.starts_with("quorate: ") && last.to_lowercase().contains("space"),
            "{last}"
        );

        rooms[full].free().unwrap();
        group.processes()[full].start().unwrap();
        group.ready(&group.all()).await;
        load.progress(100, LONG).await.unwrap();
        group.verdict(load).await;
    });
}

fn full_disk_of_a_follower() {
    full_disk(|group, leader| group.others(&[leader])[0]);
}

fn full_disk_of_the_leader() {
    full_disk(|_, leader| leader);
}
