//! Digests of the state at fixed indexes, and the comparison that stops a diverged replica.
//!
//! Replicas decide below the log, so two of them that applied the same entries must have the same state; a bug, a bad
//! memory chip or two binaries that decide differently would break that in silence. Promises: every replica remembers its
//! digest at each multiple of [`EVERY`] applied entries; now and then it compares with the others, and when a majority of
//! all members agrees on another digest than its own at the same index, it stops, because then it is the one that is
//! wrong. When no majority agrees, it says so loudly and goes on: stopping at random would not help anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_types::{Index, Member, NodeId};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, Faults};
use crate::peer::client::Peers;
use crate::peer::wire;

/// A digest is remembered at each multiple of this many entries.
const EVERY: u64 = 1_024;
/// Digests that are remembered: replicas compare while the slowest is at most this many steps behind.
const KEPT: usize = 64;
/// Between two comparisons.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);
/// A peer that does not answer in time is not counted.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// See `quorate_machine::Image::digest`.
pub(crate) type Digest = u128;

/// The digests of the last fixed indexes.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<BTreeMap<Index, Digest>>);

impl Digests {
    /// Notes the digest after the entry at `index`, if that is one of the fixed ones.
    pub(crate) fn note(&self, index: Index, digest: impl FnOnce() -> Digest) {
        if !index.0.is_multiple_of(EVERY) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(index, digest());
        if kept.len() > KEPT {
            kept.pop_first();
        }
    }

    /// The digest after the entry at `index`, if it is remembered.
    pub(crate) fn at(&self, index: Index) -> Option<Digest> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&index)
            .copied()
    }

    fn latest(&self) -> Option<(Index, Digest)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last_key_value().map(|(index, digest)| (*index, *digest))
    }
}

/// What a comparison shows.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Agreed,
    /// A majority has another digest.
    WeDiverged,
    /// Somebody has another digest, and no majority agrees against us.
    SomebodyDiverged,
}

/// Judges the digests of `others` (of a group of `members`) against `ours`.
fn judge(ours: Digest, others: &[Digest], members: usize) -> Verdict {
    let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
    for digest in others {
        *counts.entry(*digest).or_default() += 1;
    }
    counts.remove(&ours);
    match counts.values().max() {
        None => Verdict::Agreed,
        Some(most) if *most > members / 2 => Verdict::WeDiverged,
        Some(_) => Verdict::SomebodyDiverged,
    }
}

/// Compares until `stop`.
pub(crate) async fn compare(
    me: NodeId,
    digests: Arc<Digests>,
    members: watch::Receiver<Vec<Member>>,
    peers: Arc<Peers>,
    faults: Faults,
    stop: CancellationToken,
) {
    let mut compared = None;
    loop {
        tokio::select! {
            () = sleep(COMPARE_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let Some((index, ours)) = digests.latest().filter(|latest| compared != Some(latest.0)) else {
            continue;
        };
        let members = members.borrow().clone();
        let mut others = Vec::new();
        for member in members.iter().filter(|member| member.node != me) {
            if let Some(digest) = ask(&peers, member, index).await {
                others.push(digest);
            }
        }
        match judge(ours, &others, members.len()) {
            // Once all have answered, this index is done with.
            Verdict::Agreed if others.len() + 1 == members.len() => compared = Some(index),
            Verdict::Agreed => {}
            Verdict::WeDiverged => faults.raise(Fault::Diverged { index }),
            Verdict::SomebodyDiverged => tracing::error!(
                %index,
                "the replicas' states differ and no majority agrees; compare `quorate status` of all replicas"
            ),
        }
    }
}

async fn ask(peers: &Peers, member: &Member, index: Index) -> Option<Digest> {
    let peer = peers.get(member).ok()?;
    let mut client = peer.urgent();
    let call = client.digest(peer.request(wire::DigestRequest { index: index.0 }));
    let response = timeout(ANSWER_TIMEOUT, call).await.ok()?.ok()?;
    Some(Digest::from_be_bytes(
        response.into_inner().digest.as_ref().try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_wrong() {
        let (a, b, c) = (1, 2, 3);
        let cases: &[(&str, &[Digest], usize, Verdict)] = &[
            ("nobody answers", &[], 3, Verdict::Agreed),
            ("all agree", &[a, a], 3, Verdict::Agreed),
            ("one other differs", &[a, b], 3, Verdict::SomebodyDiverged),
            (
                "one other differs, the third is silent",
                &[b],
                3,
                Verdict::SomebodyDiverged,
            ),
            ("both others agree against us", &[b, b], 3, Verdict::WeDiverged),
            ("everybody differs", &[b, c], 3, Verdict::SomebodyDiverged),
            (
                "two of five against us are no majority",
                &[b, b, a, a],
                5,
                Verdict::SomebodyDiverged,
            ),
            ("three of five against us", &[b, b, b, a], 5, Verdict::WeDiverged),
        ];
        for (name, others, members, want) in cases {
            assert_eq!(judge(a, others, *members), *want, "{name}");
        }
    }

    #[test]
    fn only_fixed_indexes_are_remembered_and_not_for_ever() {
        let digests = Digests::default();
        digests.note(Index(EVERY + 1), || unreachable!("not a fixed index"));
        for step in 0..=KEPT as u64 {
            digests.note(Index(step * EVERY), || Digest::from(step));
        }
        assert_eq!(digests.at(Index(0)), None, "forgotten");
        assert_eq!(digests.at(Index(EVERY)), Some(1));
        assert_eq!(
            digests.latest().map(|(index, _)| index),
            Some(Index(KEPT as u64 * EVERY))
        );
    }
}
