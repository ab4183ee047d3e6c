//! What the clients know and may expect: the judge of a run, and its trace.
//!
//! Two things are written. *Names*: each is created once, by one client, and then exists for ever. *Counters*: each
//! client has one, which only it raises, one at a time. A read that begins after an acknowledgement must show it; a read
//! may show what was asked for and not acknowledged yet, never what nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Default)]
struct State {
    trace: String,
    /// Acknowledged names.
    created: BTreeSet<String>,
    /// Names that were asked for.
    asked: BTreeSet<String>,
    /// By client: the highest acknowledged, and the highest asked for.
    counters: BTreeMap<usize, (u64, u64)>,
    ids: BTreeSet<u64>,
    acknowledged: u64,
    reads: u64,
    unknown: u64,
    violations: Vec<String>,
}

/// See the module; cheap to clone, all on one thread.
#[derive(Debug, Clone, Default)]
pub struct Oracle(Arc<Mutex<State>>);

/// What must be visible to a read that begins now.
pub struct Floor {
    pub created: BTreeSet<String>,
    pub counters: BTreeMap<usize, u64>,
}

impl Oracle {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().expect("no panic holds it"))
    }

    /// Adds a line to the trace.
    pub fn note(&self, at: Duration, line: &str) {
        self.with(|state| _ = writeln!(state.trace, "{:>9.3} {line}", at.as_secs_f64()));
    }

    pub fn violation(&self, what: String) {
        self.with(|state| state.violations.push(what));
    }

    pub fn ask_name(&self, name: &str) {
        self.with(|state| _ = state.asked.insert(name.to_owned()));
    }

    pub fn created(&self, name: &str) {
        self.with(|state| {
            state.acknowledged += 1;
            state.created.insert(name.to_owned());
        });
    }

    /// The client's next counter value.
    pub fn ask_counter(&self, client: usize) -> u64 {
        self.with(|state| {
            let counter = state.counters.entry(client).or_default();
            counter.1 += 1;
            counter.1
        })
    }

    pub fn counted(&self, client: usize, value: u64) {
        self.with(|state| {
            state.acknowledged += 1;
            state.counters.entry(client).or_default().0 = value;
        });
    }

    pub fn allocated(&self, first: u64, count: u64) {
        self.with(|state| {
            state.acknowledged += 1;
            for id in first..first + count {
                if !state.ids.insert(id) {
                    state.violations.push(format!("the id {id} was given twice"));
                }
            }
        });
    }

    pub fn unknown(&self) {
        self.with(|state| state.unknown += 1);
    }

    pub fn floor(&self) -> Floor {
        self.with(|state| {
            let counters = state.counters.iter().map(|(client, (acknowledged, _))| (*client, *acknowledged));
            Floor { created: state.created.clone(), counters: counters.collect() }
        })
    }

    /// Checks a read that began at `floor` and showed `name` as present or not.
    pub fn saw_name(&self, floor: &Floor, name: &str, exists: bool) {
        self.with(|state| {
            state.reads += 1;
            if floor.created.contains(name) && !exists {
                state.violations.push(format!("stale or lost: {name} was acknowledged before the read and is not there"));
            }
            if exists && !state.asked.contains(name) {
                state.violations.push(format!("{name} is there and nobody asked for it"));
            }
        });
    }

    /// Checks a read that began at `floor` and showed `client`'s counter.
    pub fn saw_counter(&self, floor: &Floor, client: usize, value: u64) {
        self.with(|state| {
            state.reads += 1;
            let at_least = floor.counters.get(&client).copied().unwrap_or(0);
            let at_most = state.counters.get(&client).map_or(0, |(_, asked)| *asked);
            if value < at_least || value > at_most {
                let what = format!("the counter of client {client} reads {value}, outside {at_least}..={at_most}");
                state.violations.push(what);
            }
        });
    }

    /// Checks the final listing.
    pub fn saw_all(&self, names: &[String]) {
        self.with(|state| {
            let set: BTreeSet<&String> = names.iter().collect();
            if set.len() != names.len() {
                state.violations.push("a name is listed twice".to_owned());
            }
            for lost in state.created.iter().filter(|name| !set.contains(name)) {
                state.violations.push(format!("lost: {lost} was acknowledged and is gone"));
            }
            for invented in names.iter().filter(|name| !state.asked.contains(*name)) {
                state.violations.push(format!("{invented} is there and nobody asked for it"));
            }
        });
    }

    pub fn acknowledged(&self) -> u64 {
        self.with(|state| state.acknowledged)
    }

    /// (trace, summary, violations)
    pub fn finish(&self) -> (String, String, Vec<String>) {
        self.with(|state| {
            let summary = format!(
                "{} writes acknowledged, {} unknown, {} reads checked",
                state.acknowledged, state.unknown, state.reads
            );
            (std::mem::take(&mut state.trace), summary, std::mem::take(&mut state.violations))
        })
    }
}
