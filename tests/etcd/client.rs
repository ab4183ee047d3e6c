//! The crate `etcd-client` against both: what programs that use it see.
//!
//! Promises: the same story at both, call by call, with ids masked. Left out on purpose: the story itself, which stands in the
//! test kit, because the crate is built with `protoc` and so with a feature alone.

use std::path::Path;

use quorate_testkit::etcd_client::{Part, tell};

use crate::answer::{Answer, Line, difference};
use crate::servers::Servers;

/// Parts, and the service that is not served yet.
pub(crate) const PARTS: &[(&str, Part, Option<&str>)] = &[
    ("client_kv", Part::Kv, None),
    ("client_lease", Part::Lease, None),
    ("client_watch", Part::Watch, None),
    ("client_cluster", Part::Cluster, None),
    ("client_lock", Part::Lock, None),
    ("client_auth", Part::Auth, None),
];
/// Fields, as `Debug` writes them, that say who answered and in which term.
const WHO: &[&str] = &["cluster_id: ", "member_id: ", "raft_term: "];

/// Tells a part at both, and compares.
pub(crate) async fn run(part: Part, programs: &Path) -> Result<(), String> {
    let servers = Servers::start(programs).await?;
    let (etcd, other) = (servers.etcd(), servers.other());
    let (etcd, other) = tokio::join!(tell(part, &etcd), tell(part, &other));
    let (etcd, other) = (etcd?, other?);
    println!("{} calls", etcd.len());
    let told = |story: &[(String, String)]| {
        let lines = story.iter().map(|(call, answer)| Line::new(call, masked(answer)));
        Answer::new(lines.collect())
    };
    match difference(&told(&etcd), &told(&other)) {
        None => Ok(()),
        Some(printed) => Err(printed.join("\n")),
    }
}

fn masked(answer: &str) -> String {
    WHO.iter().fold(answer.to_owned(), |answer, field| {
        let mut parts = answer.split(field);
        let mut masked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            masked += field;
            masked.push('*');
            masked += part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        }
        masked
    })
}
