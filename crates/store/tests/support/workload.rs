//! A replica's day in fast motion, and what must be left of it after the machine or the process died.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use quorate_store::{Done, Store, StoreError};
use quorate_types::Term;
use tokio::sync::Semaphore;

use super::{at, entry_of, meta, read_all, read_snapshot, records, vote};

/// What was acknowledged last, of each kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Index of the last entry.
    Append,
    /// Term.
    Vote,
    /// Index that it covers.
    Snapshot,
    /// Index of its entry.
    Membership,
}

pub const KINDS: [Kind; 4] = [Kind::Append, Kind::Vote, Kind::Snapshot, Kind::Membership];

/// The highest acknowledged number of each kind.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged(Arc<Mutex<BTreeMap<Kind, u64>>>);

impl Acknowledged {
    pub fn note(&self, kind: Kind, number: u64) {
        self.0.lock().unwrap().insert(kind, number);
    }

    /// What is acknowledged by now; later ones do not count in it.
    pub fn until_now(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    pub fn get(&self, kind: Kind) -> Option<u64> {
        self.0.lock().unwrap().get(&kind).copied()
    }
}

/// Works until the store fails; `acknowledge` is called when a write is durable.
pub async fn work(
    store: &Arc<dyn Store>,
    acknowledge: impl Fn(Kind, u64) + Clone + Send + 'static,
) -> Result<(), StoreError> {
    // So many writes are on their way at once, in groups of any size.
    let in_flight = Arc::new(Semaphore::new(8));
    let tell = |kind, number, permit| -> Done {
        let acknowledge = acknowledge.clone();
        Box::new(move |result| {
            if result.is_ok() {
                acknowledge(kind, number);
            }
            drop::<tokio::sync::OwnedSemaphorePermit>(permit);
        })
    };
    let mut fault = store.fault();
    let mut next = store.log_state().last.map_or(0, |last| last.index.0 + 1);
    let mut term = store.log_state().vote.map_or(1, |vote| vote.term.0 + 1);
    for round in 1_u64.. {
        if fault.has_changed().unwrap_or(true) {
            let fault = fault.borrow_and_update().clone();
            return Err(fault.map_or(StoreError::Closed, StoreError::Fault));
        }
        let count = 1 + round * 7 % 13;
        let entries = (next..next + count)
            .map(|index| entry_of(1, index, size(index)))
            .collect();
        next += count;
        let permit = Arc::clone(&in_flight).acquire_owned().await.unwrap();
        store.append(entries, tell(Kind::Append, next - 1, permit));
        if round % 3 == 0 {
            let permit = Arc::clone(&in_flight).acquire_owned().await.unwrap();
            store.save_vote(vote(term, false), tell(Kind::Vote, term, permit));
            term += 1;
        }
        if round % 17 == 0 {
            store.save_committed(store.log_state().last);
            let (membership, position) = (meta(None).membership, at(1, next - 1));
            store.save_membership(position, membership).await?;
            acknowledge(Kind::Membership, next - 1);
        }
        if round % 40 == 0 {
            let last = at(1, next - 1);
            // Its entries are durable first, as what was applied is committed.
            drop(in_flight.acquire_many(8).await.unwrap());
            let mut writer = store.create_snapshot(meta(Some(last))).await?;
            writer.write(records(record_count(next - 1))).await?;
            writer.finish(None).await?;
            acknowledge(Kind::Snapshot, next - 1);
            let ignore: Done = Box::new(drop);
            store.purge_upto(at(1, next.saturating_sub(30)), ignore);
        }
    }
    unreachable!("the rounds have no end")
}

fn size(index: u64) -> usize {
    usize::try_from(index * 131 % 700).unwrap()
}

fn record_count(index: u64) -> usize {
    usize::try_from(200 + index % 100).unwrap()
}

/// All that was acknowledged is there, whole and in order; what is there beyond it is whole, too.
pub async fn verify(store: &Arc<dyn Store>, acknowledged: &Acknowledged) -> Result<(), String> {
    let at_least = |kind, found: Option<u64>| match found >= acknowledged.get(kind) {
        true => Ok(()),
        false => Err(format!(
            "{kind:?}: found {found:?} of {:?}",
            acknowledged.get(kind)
        )),
    };
    let state = store.log_state();
    at_least(Kind::Append, state.last.map(|last| last.index.0))?;
    at_least(
        Kind::Vote,
        state.vote.map(|vote| vote.term).map(|Term(term)| term),
    )?;

    let entries = read_all(store).await;
    let first = state.purged.map_or(0, |purged| purged.index.0 + 1);
    let end = state.last.map_or(0, |last| last.index.0 + 1);
    let want: Vec<_> = (first..end)
        .map(|index| entry_of(1, index, size(index)))
        .collect();
    if entries != want {
        return Err(format!(
            "{} entries from {first} to {end} are not what was written",
            entries.len()
        ));
    }
    let snapshot = read_snapshot(store).await;
    let covers = snapshot.as_ref().and_then(|(snapshot, _)| snapshot.id.last);
    at_least(Kind::Snapshot, covers.map(|last| last.index.0))?;
    if let (Some((_, found)), Some(last)) = (snapshot, covers)
        && found != records(record_count(last.index.0))
    {
        return Err("the snapshot does not hold what was written".to_owned());
    }
    if state.purged > covers || state.committed > state.last {
        return Err(format!("{state:?} with a snapshot up to {covers:?}"));
    }
    let memberships = store.facts().memberships;
    at_least(
        Kind::Membership,
        memberships.last().map(|fact| fact.position.index.0),
    )
}
