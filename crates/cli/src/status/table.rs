//! The picture for people.
//!
//! Promises: no line is longer than 80 characters, unless a single name or number is. Where the columns would be, each
//! replica has a paragraph instead. Left out on purpose: partitions, watchers, timings and peers; JSON has them.

use quorate_client::v1::StatusResponse;

use super::picture::{Digests, Picture, Replica};
use crate::output::table::{Table, left, right};
use crate::output::text::{plain, wrapped};
use crate::output::time::{micros, millis, utc};
use crate::output::words;

const WIDTH: usize = 80;
/// Where what follows a label stands.
const INDENT: usize = 9;

/// The whole page; `now_ms` is the present, to say how long ago something was.
pub(super) fn show(picture: &Picture, now_ms: u64) -> String {
    let mut page = String::new();
    let total = picture.replicas.len();
    let plural = if total == 1 { "" } else { "s" };
    page += &labelled(
        "cluster",
        &format!("{}, {total} replica{plural}", picture.cluster_id()),
    );
    page += &labelled("leader", &leader(picture));
    if let Some(change) = picture.last_change() {
        let (name, reason) = (
            picture.name_of(change.node_id),
            words::change_reason(change.reason),
        );
        let (at, took) = (utc(change.at_unix_ms), micros(change.took_us));
        let ago = millis(now_ms.saturating_sub(change.at_unix_ms));
        page += &labelled(
            "change",
            &format!(
                "to {name} in term {} by {reason}, took {took}, {ago} ago ({at})",
                change.term
            ),
        );
    }
    page += &labelled("digests", &digests(&picture.digests()));
    page.push('\n');
    page += &columns(picture).unwrap_or_else(|| paragraphs(picture));
    let troubles = troubles(picture);
    if !troubles.is_empty() {
        page.push('\n');
        page += &troubles;
    }
    page
}

fn leader(picture: &Picture) -> String {
    if let Some(leading) = picture.leading() {
        let member = &leading.member;
        let powerless = if picture.in_power().is_none() {
            "; WITHOUT A MAJORITY"
        } else {
            ""
        };
        return format!(
            "{} (node {}) at {}, term {}{powerless}",
            leading.name(),
            member.node_id,
            member.client_address,
            leading.term()
        );
    }
    match picture.believed() {
        Some(hint) => format!(
            "none answers; last known is {}, term {}",
            picture.name_of(hint.node_id),
            hint.term
        ),
        None => "none".to_owned(),
    }
}

fn digests(digests: &Digests) -> String {
    match digests {
        Digests::Equal { index, replicas } => {
            format!("equal at log index {index} on {}", replicas.join(", "))
        }
        Digests::Different { index, replicas } => format!(
            "DIFFERENT at log index {index} among {}: one of them has a wrong state; stop it and report it",
            replicas.join(", ")
        ),
        Digests::Unknown => "not comparable now: no two replicas show the same log index".to_owned(),
    }
}

/// Two tables; `None` when they would be too wide.
fn columns(picture: &Picture) -> Option<String> {
    let mut log = Table::new(&[
        left("REPLICA"),
        left("ROLE"),
        right("TERM"),
        right("LAST"),
        right("COMMITTED"),
        right("APPLIED"),
        right("SNAPSHOT"),
    ]);
    let mut state = Table::new(&[
        left("REPLICA"),
        right("REVISION"),
        right("COLLECTIONS"),
        right("SESSIONS"),
        right("FLUSH P50"),
        right("FLUSH P99"),
        right("UP"),
    ]);
    for replica in &picture.replicas {
        let Some(status) = replica.status() else {
            log.row(vec![replica.name(), "unreachable".to_owned()]);
            continue;
        };
        log.row(vec![
            replica.name(),
            words::role(status.role),
            replica.term().to_string(),
            status.last_log_index.to_string(),
            status.committed_index.to_string(),
            status.applied_index.to_string(),
            status.snapshot_index.to_string(),
        ]);
        state.row(vec![
            replica.name(),
            status.revision.to_string(),
            status.collections.to_string(),
            status.sessions.to_string(),
            flush(status.flush_p50_us),
            flush(status.flush_p99_us),
            millis(status.uptime_ms),
        ]);
    }
    let mut shown = log.take();
    if state.rows() > 0 {
        shown.push('\n');
        shown += &state.take();
    }
    let fits = shown.lines().all(|line| line.chars().count() <= WIDTH);
    fits.then_some(shown)
}

fn paragraphs(picture: &Picture) -> String {
    let paragraph = |replica: &Replica| {
        let said = match replica.status() {
            None => "unreachable".to_owned(),
            Some(status) => sentence(replica, status),
        };
        let text = plain(&format!("{}: {said}", replica.name()));
        wrapped(&text, WIDTH, INDENT) + "\n"
    };
    picture.replicas.iter().map(paragraph).collect()
}

fn sentence(replica: &Replica, status: &StatusResponse) -> String {
    format!(
        "{}, term {}; log: last {}, committed {}, applied {}, snapshot {}; revision {}, collections {}, sessions {}; \
         flush p50 {}, p99 {}; up {}",
        words::role(status.role),
        replica.term(),
        status.last_log_index,
        status.committed_index,
        status.applied_index,
        status.snapshot_index,
        status.revision,
        status.collections,
        status.sessions,
        flush(status.flush_p50_us),
        flush(status.flush_p99_us),
        millis(status.uptime_ms)
    )
}

/// Zero means that nothing was measured yet.
fn flush(us: u64) -> String {
    if us == 0 { "-".to_owned() } else { micros(us) }
}

fn troubles(picture: &Picture) -> String {
    let mut lines = String::new();
    for replica in &picture.replicas {
        let name = replica.name();
        match &replica.answer {
            Err(why) => {
                let address = &replica.member.client_address;
                lines += &labelled("silent", &format!("{name} at {address}: {why}"));
            }
            Ok(status) => {
                if !status.fault.is_empty() {
                    lines += &labelled("fault", &format!("{name}: {}", status.fault));
                }
                for warning in &status.warnings {
                    lines += &labelled("warning", &format!("{name}: {warning}"));
                }
            }
        }
    }
    lines
}

fn labelled(label: &str, text: &str) -> String {
    let text = wrapped(&plain(text), WIDTH - INDENT, 0);
    let text = text.replace('\n', &format!("\n{:INDENT$}", ""));
    format!("{label:<INDENT$}{text}\n")
}

#[cfg(test)]
mod tests {
    use quorate_client::v1::Role;

    use super::super::picture::example::{replica, silent};
    use super::*;

    const NOW_MS: u64 = 1_795_244_634_623;

    #[test]
    fn three_replicas_one_of_them_down() {
        let mut slow = replica(1, Role::Follower, 57, 1);
        if let Ok(status) = &mut slow.answer {
            status.warnings = vec![
                "the disk takes 40 ms for half of its flushes, and an election can take ten times as long as it \
                 should; use another disk"
                    .to_owned(),
                "node 3\n\u{1b}[2J cannot be reached".to_owned(),
            ];
            status.flush_p50_us = 0;
        }
        let picture = Picture {
            replicas: vec![
                slow,
                replica(2, Role::Leader, 57, 1),
                silent(3, "connection refused"),
            ],
        };
        let want = "\
cluster  abababababababababababababababab, 3 replicas
leader   b (node 2) at 10.0.0.2:2379, term 7
change   to b in term 7 by crash, took 9.1 ms, 12 s ago (2026-11-21 07:03:42Z)
digests  equal at log index 57 on a, b

REPLICA  ROLE         TERM  LAST  COMMITTED  APPLIED  SNAPSHOT
a        follower        7    58         57       57        40
b        leader          7    58         57       57        40
c        unreachable

REPLICA  REVISION  COLLECTIONS  SESSIONS  FLUSH P50  FLUSH P99     UP
a              21            3         5          -     1.1 ms  2 min
b              21            3         5     120 us     1.1 ms  2 min

warning  a: the disk takes 40 ms for half of its flushes, and an election can
         take ten times as long as it should; use another disk
warning  a: node 3\\n\\u{1b}[2J cannot be reached
silent   c at 10.0.0.3:2379: connection refused
";
        assert_eq!(show(&picture, NOW_MS), want);
    }

    #[test]
    fn nobody_leads() {
        let mut stopped = replica(1, Role::Stopped, 57, 1);
        if let Ok(status) = &mut stopped.answer {
            status.fault = "the log cannot be written: no space left on device".to_owned();
            status.last_leader_change = None;
        }
        let picture = Picture {
            replicas: vec![stopped, silent(2, "timed out")],
        };
        let want = "\
cluster  abababababababababababababababab, 2 replicas
leader   none answers; last known is b, term 7
digests  not comparable now: no two replicas show the same log index

REPLICA  ROLE         TERM  LAST  COMMITTED  APPLIED  SNAPSHOT
a        stopped         7    58         57       57        40
b        unreachable

REPLICA  REVISION  COLLECTIONS  SESSIONS  FLUSH P50  FLUSH P99     UP
a              21            3         5     120 us     1.1 ms  2 min

fault    a: the log cannot be written: no space left on device
silent   b at 10.0.0.2:2379: timed out
";
        assert_eq!(show(&picture, NOW_MS), want);
        let nothing = show(
            &Picture {
                replicas: vec![silent(1, "")],
            },
            0,
        );
        assert!(nothing.contains("\nleader   none\n"), "{nothing}");
    }

    #[test]
    fn a_leader_that_lost_the_others() {
        let mut alone = replica(2, Role::Leader, 57, 1);
        if let Ok(status) = &mut alone.answer {
            status.peers.clear();
        }
        let replicas = vec![silent(1, ""), alone, silent(3, "")];
        let page = show(&Picture { replicas }, NOW_MS);
        let want = "\nleader   b (node 2) at 10.0.0.2:2379, term 7; WITHOUT A MAJORITY\n";
        assert!(page.contains(want), "{page}");
    }

    #[test]
    fn eighty_columns_hold_the_largest_numbers() {
        let mut replicas: Vec<Replica> = (1..=5).map(|node| replica(node, Role::Follower, 57, 1)).collect();
        for replica in &mut replicas {
            replica.member.name =
                "a-rather-long-name-of-a-replica-as-kubernetes-makes-them-up-000".to_owned();
            if let Ok(status) = &mut replica.answer {
                status.last_log_index = u64::MAX;
                status.committed_index = u64::MAX;
                status.applied_index = u64::MAX;
                status.snapshot_index = u64::MAX;
                status.revision = u64::MAX;
                status.collections = u32::MAX;
                status.sessions = u32::MAX;
                status.flush_p50_us = u64::MAX;
                status.uptime_ms = u64::MAX;
                status.topology.as_mut().unwrap().term = u64::MAX;
                status.last_leader_change.as_mut().unwrap().at_unix_ms = u64::MAX;
                status.warnings = vec!["w".repeat(10_000)];
                status.state_digest = vec![replica.member.node_id as u8; 16];
            }
        }
        let page = show(&Picture { replicas }, u64::MAX);
        let longest = page.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{page}");
        assert!(
            page.contains("DIFFERENT at log index 18446744073709551615"),
            "{page}"
        );
        // A billion entries, as a group has them after a long life.
        let large: Vec<Replica> = (1..=3)
            .map(|node| replica(node, Role::Follower, 999_999_998, 1))
            .collect();
        assert!(columns(&Picture { replicas: large }).is_some());
    }
}
