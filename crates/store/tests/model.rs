//! Random histories against a naive model, with reopening and crashes at random points.
//!
//! A crash may lose what was not acknowledged and nothing else: what is found afterwards is the state after some
//! prefix of the calls, at least up to the last one that was acknowledged.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use quorate_store::{Done, Entry, LogState, Store};
use quorate_types::Position;
use support::{Place, at, entry_of, read_all, records, vote, write_snapshot};

#[derive(Debug, Clone)]
enum Step {
    /// So many entries, in a new term or not.
    Append {
        count: u64,
        new_term: bool,
    },
    /// Give up so many entries at the end, as far as they are not committed.
    Truncate {
        back: u64,
    },
    Vote {
        committed: bool,
    },
    /// Commit all but so many.
    Commit {
        back: u64,
    },
    /// A snapshot and a purge up to the committed position.
    Purge,
    /// A leader's snapshot, so far beyond the end.
    Install {
        beyond: u64,
        older_term: bool,
    },
    /// Wait until everything is durable.
    Settle,
    Reopen,
    Crash {
        in_flight: bool,
    },
}

fn steps(with_crashes: bool) -> impl Strategy<Value = Vec<Step>> {
    let crashes = if with_crashes { 3 } else { 0 };
    let step = prop_oneof![
        8 => (1..8_u64, any::<bool>()).prop_map(|(count, new_term)| Step::Append { count, new_term }),
        2 => (1..9_u64).prop_map(|back| Step::Truncate { back }),
        2 => any::<bool>().prop_map(|committed| Step::Vote { committed }),
        3 => (0..5_u64).prop_map(|back| Step::Commit { back }),
        1 => Just(Step::Purge),
        1 => (1..9_u64, any::<bool>()).prop_map(|(beyond, older_term)| Step::Install { beyond, older_term }),
        2 => Just(Step::Settle),
        1 => Just(Step::Reopen),
        crashes => any::<bool>().prop_map(|in_flight| Step::Crash { in_flight }),
    ];
    prop::collection::vec(step, 1..40)
}

/// The log as anyone would write it down.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    state: LogState,
    entries: Vec<Entry>,
}

impl Model {
    fn truncate_after(&mut self, keep: Option<Position>) {
        let kept = |entry: &Entry| Some(entry.position.index) <= keep.map(|keep| keep.index);
        self.entries.retain(kept);
        self.state.last = keep;
    }

    fn purge_upto(&mut self, upto: Position) {
        if self.state.last < Some(upto) || self.state.last.map(|last| last.index) < Some(upto.index) {
            self.entries.clear();
            self.state.last = Some(upto);
        }
        self.entries.retain(|entry| entry.position.index > upto.index);
        self.state.purged = Some(upto);
    }

    /// The last position that is `back` entries before the end, but not before what is committed or purged.
    fn before_end(&self, back: u64) -> Option<Position> {
        let floor = self.state.committed.max(self.state.purged);
        let keep = self.entries.len().saturating_sub(usize::try_from(back).unwrap());
        let position = keep.checked_sub(1).map(|last| self.entries[last].position);
        position.or(self.state.purged).max(floor)
    }
}

/// One run: the store, the model after every call, and how many calls were acknowledged.
struct Run {
    place: Place,
    store: Arc<dyn Store>,
    history: Vec<Model>,
    acknowledged: Arc<AtomicUsize>,
    term: u64,
}

impl Run {
    async fn start(place: Place) -> Self {
        let store = place.open().await;
        Self {
            place,
            store,
            history: vec![Model::default()],
            acknowledged: Arc::default(),
            term: 1,
        }
    }

    fn model(&self) -> Model {
        self.history.last().unwrap().clone()
    }

    /// Notes the model after a call; its callback must come in turn.
    fn call(&mut self, model: Model, call: impl FnOnce(&dyn Store, Done)) {
        self.history.push(model);
        let (number, acknowledged) = (self.history.len() - 1, Arc::clone(&self.acknowledged));
        let done: Done = Box::new(move |result| {
            result.unwrap();
            assert_eq!(acknowledged.swap(number, Ordering::SeqCst), number - 1);
        });
        call(self.store.as_ref(), done);
    }

    /// Begins again after the store was reopened in the state `found`.
    fn restart(&mut self, found: Model) {
        self.history = vec![found];
        self.acknowledged = Arc::default();
    }

    async fn settle(&self) {
        while self.acknowledged.load(Ordering::SeqCst) + 1 < self.history.len() {
            tokio::time::sleep(std::time::Duration::from_micros(100)).await;
        }
    }

    fn snapshot(&self) -> Option<Position> {
        self.store.snapshot().and_then(|snapshot| snapshot.id.last)
    }

    async fn found(&self) -> Model {
        Model {
            state: self.store.log_state(),
            entries: read_all(&self.store).await,
        }
    }

    async fn take(&mut self, step: Step) {
        let mut model = self.model();
        match step {
            Step::Append { count, new_term } => {
                self.term += u64::from(new_term);
                let first = model.state.last.map_or(0, |last| last.index.0 + 1);
                let added: Vec<Entry> = (first..first + count)
                    .map(|index| entry_of(self.term, index, usize::try_from(index * 37 % 400).unwrap()))
                    .collect();
                model.entries.extend(added.clone());
                model.state.last = added.last().map(|entry| entry.position);
                self.call(model, |store, done| store.append(added, done));
            }
            Step::Truncate { back } => {
                let keep = model.before_end(back);
                model.truncate_after(keep);
                // Whoever replaces a tail does it in a later term.
                self.term += 1;
                self.call(model, |store, done| store.truncate_after(keep, done));
            }
            Step::Vote { committed } => {
                let vote = vote(self.term, committed);
                if model.state.vote <= Some(vote) {
                    model.state.vote = Some(vote);
                    self.call(model, |store, done| store.save_vote(vote, done));
                }
            }
            Step::Commit { back } => {
                let committed = model.before_end(back);
                self.store.save_committed(committed);
                let current = self.history.last_mut().unwrap();
                current.state.committed = current.state.committed.max(committed);
            }
            Step::Purge => {
                if let Some(upto) = model.state.committed.filter(|c| model.state.purged < Some(*c)) {
                    self.settle().await;
                    if self.snapshot() < Some(upto) {
                        write_snapshot(&self.store, Some(upto), &records(2))
                            .await
                            .unwrap();
                    }
                    model.purge_upto(upto);
                    self.call(model, |store, done| store.purge_upto(upto, done));
                }
            }
            Step::Install { beyond, older_term } => {
                // What is committed here, or in our snapshot, is committed there: its position is beyond that.
                let known = model.state.committed.max(model.state.purged).max(self.snapshot());
                let term = if older_term {
                    known.map_or(1, |known| known.term.0)
                } else {
                    self.term
                };
                let end = model
                    .state
                    .last
                    .map(|last| last.index)
                    .max(known.map(|known| known.index));
                let upto = at(term, end.map_or(0, |end| end.0) + beyond);
                self.settle().await;
                write_snapshot(&self.store, Some(upto), &records(3))
                    .await
                    .unwrap();
                model.purge_upto(upto);
                self.term += 1;
                self.call(model, |store, done| store.purge_upto(upto, done));
            }
            Step::Settle => {
                self.settle().await;
                assert_eq!(self.found().await, self.model());
            }
            Step::Reopen => {
                self.store.close().await;
                assert_eq!(self.acknowledged.load(Ordering::SeqCst) + 1, self.history.len());
                self.store = self.place.open().await;
                let found = self.found().await;
                assert_eq!(found, self.model());
                self.restart(found);
            }
            Step::Crash { in_flight } => self.crash(in_flight).await,
        }
        assert_eq!(self.store.log_state(), self.model().state);
    }

    async fn crash(&mut self, in_flight: bool) {
        let Place::Memory(disk) = &self.place else {
            unreachable!("only the simulated disk crashes here");
        };
        match in_flight {
            true => disk.crash_in_flight(),
            false => disk.crash(),
        }
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        self.store = self.place.open().await;
        let found = self.found().await;
        // How far it knew to be committed may be older, so it is compared apart.
        let alike = |model: &Model| {
            let committed = found.state.committed;
            let state = LogState {
                committed,
                ..model.state
            };
            state == found.state && model.entries == found.entries && committed <= model.state.committed
        };
        let prefix = self.history[acknowledged..].iter().position(alike);
        assert!(
            prefix.is_some(),
            "found {found:?} after {acknowledged} of {:#?}",
            self.history
        );
        assert!(
            in_flight || prefix == Some(0),
            "more than the acknowledged survived"
        );
        self.restart(found);
    }
}

fn run(place: Place, steps: Vec<Step>, paused: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(paused)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run::start(place).await;
        for step in steps {
            run.take(step).await;
        }
        run.take(Step::Reopen).await;
        assert!(run.store.fault().borrow().is_none());
    });
}

/// So many cases, unless `PROPTEST_CASES` asks for another number. Failures are told with their steps, not kept in
/// files.
fn config(cases: u32) -> ProptestConfig {
    let set = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        set.cases
    } else {
        cases
    };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..set
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_simulated_store_keeps_what_it_acknowledged(seed: u64, steps in steps(true)) {
        quorate_host::entropy::seed(seed);
        run(Place::memory(), steps, true);
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn the_store_on_files_keeps_everything(steps in steps(false)) {
        run(Place::disk(), steps, false);
    }
}
