//! What the clients know and may expect, and what the replicas showed: the judge of a run, and its trace.
//!
//! Three things are written. *Names* are created once, by one client, some are dropped again, and a dropped one must not
//! come back (a write that is executed twice would bring it back). *Counters* belong to one client each, which raises
//! them one by one. *Ids* are allocated and must never repeat. A read that begins after an acknowledgement must show it;
//! a read may show what was asked for and not acknowledged yet, never what nobody asked for. Of the replicas it checks
//! that one leads in a term and that the same index always has the same digest, on every replica and after every crash.
//! Left out on purpose: an order between different clients' writes beyond what acknowledgements say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// Asked for and not answered, or of unknown fate: both answers are right.
    Open,
    /// Its creation was acknowledged.
    There,
    /// Its end was acknowledged.
    Gone,
}

#[derive(Debug, Default)]
struct State {
    trace: String,
    /// Each name's state, and since which settled answer it has been so.
    names: BTreeMap<String, (Name, u64)>,
    /// Counts what is asked and answered about names.
    moment: u64,
    /// By key: the highest acknowledged value, and the highest asked for.
    counters: BTreeMap<String, (u64, u64)>,
    ids: BTreeSet<u64>,
    acknowledged: u64,
    reads: u64,
    unknown: u64,
    violations: Vec<String>,
    /// Who served as the leader, by term.
    leaders: BTreeMap<u64, String>,
    /// Whoever served last.
    leader: Option<String>,
    /// By applied index.
    digests: BTreeMap<u64, u128>,
    /// The last index that each replica showed.
    applied: BTreeMap<String, u64>,
}

/// See the module; cheap to clone, all on one thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle(Arc<Mutex<State>>);

/// What must be visible to a read that begins now.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    moment: u64,
    counters: BTreeMap<String, u64>,
}

/// What a run did.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) trace: String,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) reads: u64,
    pub(crate) terms: usize,
    pub(crate) violations: Vec<String>,
}

impl State {
    fn name(&mut self, name: &str, is: Name) {
        self.moment += 1;
        self.names.insert(name.to_owned(), (is, self.moment));
    }
}

impl Oracle {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, at: Duration, line: &str) {
        _ = writeln!(self.lock().trace, "{:>9.3} {line}", at.as_secs_f64());
    }

    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        let mut state = self.lock();
        _ = writeln!(state.trace, "VIOLATION: {what}");
        state.violations.push(what);
    }

    /// A write had no answer of the kind that was asked for.
    pub(crate) fn unknown(&self) {
        self.lock().unknown += 1;
    }

    pub(crate) fn ask_create(&self, name: &str) {
        self.lock().name(name, Name::Open);
    }

    pub(crate) fn created(&self, name: &str) {
        let mut state = self.lock();
        state.acknowledged += 1;
        state.name(name, Name::There);
    }

    /// From here on a read may miss it.
    pub(crate) fn ask_drop(&self, name: &str) {
        self.lock().name(name, Name::Open);
    }

    /// The end of a name that was there, if it was there: `existed` is what the answer says.
    pub(crate) fn dropped(&self, name: &str, existed: bool) {
        {
            let mut state = self.lock();
            state.acknowledged += 1;
            state.name(name, Name::Gone);
        }
        if !existed {
            self.violation(format!(
                "lost or doubled: {name} was acknowledged and not there to be dropped"
            ));
        }
    }

    /// The key's next value.
    pub(crate) fn ask_count(&self, key: &str) -> u64 {
        let mut state = self.lock();
        let counter = state.counters.entry(key.to_owned()).or_default();
        counter.1 += 1;
        counter.1
    }

    pub(crate) fn counted(&self, key: &str, value: u64) {
        let mut state = self.lock();
        state.acknowledged += 1;
        state.counters.entry(key.to_owned()).or_default().0 = value;
    }

    pub(crate) fn allocated(&self, ids: std::ops::Range<u64>) {
        self.lock().acknowledged += 1;
        for id in ids {
            if !self.lock().ids.insert(id) {
                self.violation(format!("the id {id} was given twice"));
            }
        }
    }

    pub(crate) fn floor(&self) -> Floor {
        let state = self.lock();
        let counters = state
            .counters
            .iter()
            .map(|(key, (acknowledged, _))| (key.clone(), *acknowledged));
        Floor {
            moment: state.moment,
            counters: counters.collect(),
        }
    }

    /// One of the names that were ever asked for.
    pub(crate) fn some_name(&self, choice: u64) -> Option<String> {
        let state = self.lock();
        let choice = usize::try_from(choice % u64::try_from(state.names.len()).ok()?.max(1)).ok()?;
        state.names.keys().nth(choice).cloned()
    }

    /// Checks a read that began at `floor` and showed `name` as there or not.
    pub(crate) fn saw_name(&self, floor: &Floor, name: &str, exists: bool) {
        let known = {
            let mut state = self.lock();
            state.reads += 1;
            state.names.get(name).copied()
        };
        match known {
            Some((Name::There, since)) if since <= floor.moment && !exists => {
                self.violation(format!(
                    "stale or lost: {name} was acknowledged before the read and is not there"
                ));
            }
            Some((Name::Gone, since)) if since <= floor.moment && exists => {
                self.violation(format!(
                    "stale or doubled: {name} was dropped before the read and is there"
                ));
            }
            None if exists => self.violation(format!("{name} is there and nobody asked for it")),
            _ => {}
        }
    }

    /// Checks a read that began at `floor` and showed all counters.
    pub(crate) fn saw_counters(&self, floor: &Floor, shown: &BTreeMap<String, String>) {
        let mut wrong = Vec::new();
        {
            let mut state = self.lock();
            state.reads += 1;
            for (key, (_, asked)) in &state.counters {
                let value = shown.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
                let at_least = floor.counters.get(key).copied().unwrap_or(0);
                if value < at_least || value > *asked {
                    wrong.push(format!(
                        "stale or lost: {key} reads {value}, outside {at_least}..={asked}"
                    ));
                }
            }
        }
        for what in wrong {
            self.violation(what);
        }
    }

    /// Checks a listing of everything that began at `floor`.
    pub(crate) fn saw_all(&self, floor: &Floor, names: &[String]) {
        let set: BTreeSet<&String> = names.iter().collect();
        if set.len() != names.len() {
            self.violation("a name is listed twice");
        }
        let known: BTreeSet<String> = self.lock().names.keys().cloned().collect();
        for name in known
            .iter()
            .chain(set.iter().copied().filter(|name| !known.contains(*name)))
        {
            self.saw_name(floor, name, set.contains(name));
        }
    }

    /// `host` serves as the leader of `term`.
    pub(crate) fn serves(&self, host: &str, term: u64) {
        let other = {
            let mut state = self.lock();
            state.leader = Some(host.to_owned());
            let known = state.leaders.entry(term).or_insert_with(|| host.to_owned());
            (known != host).then(|| known.clone())
        };
        if let Some(other) = other {
            self.violation(format!("term {term} has two leaders, {other} and {host}"));
        }
    }

    /// Whoever served last.
    pub(crate) fn leader(&self) -> Option<String> {
        self.lock().leader.clone()
    }

    /// `host` has applied `index`, and its state has this digest.
    pub(crate) fn applied(&self, host: &str, index: u64, digest: u128) {
        let differs = {
            let mut state = self.lock();
            state.applied.insert(host.to_owned(), index);
            *state.digests.entry(index).or_insert(digest) != digest
        };
        if differs {
            self.violation(format!(
                "diverged: {host} has another digest at index {index} than was seen before"
            ));
        }
    }

    /// The last index that each replica showed.
    pub(crate) fn positions(&self) -> BTreeMap<String, u64> {
        self.lock().applied.clone()
    }

    /// The trace so far; nothing when it is just being written.
    pub(crate) fn trace(&self) -> String {
        self.0
            .try_lock()
            .map_or_else(|_| String::new(), |mut state| std::mem::take(&mut state.trace))
    }

    pub(crate) fn finish(&self) -> Account {
        let mut state = self.lock();
        Account {
            trace: std::mem::take(&mut state.trace),
            acknowledged: state.acknowledged,
            unknown: state.unknown,
            reads: state.reads,
            terms: state.leaders.len(),
            violations: std::mem::take(&mut state.violations),
        }
    }
}

/// A judge that finds nothing proves nothing: each fault that it should find is planted once. Returns what it missed.
pub(crate) fn missed() -> Vec<&'static str> {
    type Plant = fn(&Oracle);
    let plants: [(&str, bool, Plant); 13] = [
        ("a correct history", false, |oracle| {
            oracle.ask_create("a");
            oracle.created("a");
            oracle.saw_name(&oracle.floor(), "a", true);
            oracle.ask_create("b");
            oracle.saw_name(&oracle.floor(), "b", false);
            oracle.ask_drop("a");
            oracle.saw_name(&oracle.floor(), "a", false);
            oracle.dropped("a", true);
            oracle.saw_all(&oracle.floor(), &["b".to_owned()]);
            oracle.allocated(1..3);
            oracle.allocated(3..4);
            oracle.serves("r0", 1);
            oracle.serves("r0", 1);
            oracle.serves("r1", 2);
            oracle.applied("r0", 5, 7);
            oracle.applied("r1", 5, 7);
        }),
        ("a name dropped during a read", false, |oracle| {
            oracle.ask_create("a");
            oracle.created("a");
            let floor = oracle.floor();
            oracle.ask_drop("a");
            oracle.dropped("a", true);
            oracle.saw_name(&floor, "a", false);
        }),
        ("a stale read", true, |oracle| {
            oracle.ask_create("a");
            oracle.created("a");
            oracle.saw_name(&oracle.floor(), "a", false);
        }),
        ("a stale read of a drop", true, |oracle| {
            oracle.ask_create("a");
            oracle.created("a");
            oracle.ask_drop("a");
            oracle.dropped("a", true);
            oracle.saw_name(&oracle.floor(), "a", true);
        }),
        ("a name out of nowhere", true, |oracle| {
            oracle.saw_name(&oracle.floor(), "a", true)
        }),
        ("a lost name", true, |oracle| {
            oracle.ask_create("a");
            oracle.created("a");
            oracle.saw_all(&oracle.floor(), &[]);
        }),
        ("a lost name at its drop", true, |oracle| {
            oracle.dropped("a", false)
        }),
        ("a name twice", true, |oracle| {
            oracle.ask_create("a");
            oracle.saw_all(&oracle.floor(), &["a".to_owned(), "a".to_owned()]);
        }),
        ("an id twice", true, |oracle| {
            oracle.allocated(1..3);
            oracle.allocated(2..4);
        }),
        ("two leaders", true, |oracle| {
            oracle.serves("r0", 1);
            oracle.serves("r1", 1);
        }),
        ("a diverged replica", true, |oracle| {
            oracle.applied("r0", 5, 7);
            oracle.applied("r1", 5, 8);
        }),
        ("a stale counter", true, |oracle| {
            let value = oracle.ask_count("c");
            oracle.counted("c", value);
            oracle.saw_counters(&oracle.floor(), &BTreeMap::new());
        }),
        ("a counter from the future", true, |oracle| {
            oracle.ask_count("c");
            oracle.saw_counters(
                &oracle.floor(),
                &BTreeMap::from([("c".to_owned(), "2".to_owned())]),
            );
        }),
    ];
    let wrong = plants.into_iter().filter(|(_, is_wrong, plant)| {
        let oracle = Oracle::default();
        plant(&oracle);
        oracle.finish().violations.is_empty() == *is_wrong
    });
    wrong.map(|(name, ..)| name).collect()
}
