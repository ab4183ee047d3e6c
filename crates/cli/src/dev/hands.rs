//! What the user does to the processes, carried out.
//!
//! Promises: the moment of a deed is taken before it happens; a replica that was just killed can be started again at
//! once: the start waits for the end.

use std::collections::BTreeSet;

use quorate_local::{Cluster, LocalError, Process, State as ProcessState};

use super::event::{Deed, Event, Life, Tone};
use super::moment::Moment;
use super::state::State;
use crate::exit::chain;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hands {
    /// Replicas that were told to end and have not.
    ending: BTreeSet<usize>,
    /// Of these, those to start again then.
    waiting: BTreeSet<usize>,
}

impl Hands {
    /// Does it to the replica in this place.
    pub(super) fn act(&mut self, cluster: &Cluster, state: &mut State, deed: Deed, place: usize) {
        let Some(process) = cluster.processes().get(place) else {
            return;
        };
        let at = Moment::now();
        let done = match deed {
            Deed::Kill => process.kill(),
            Deed::Pause => process.pause(),
            Deed::Resume => process.resume(),
            Deed::Terminate => process.terminate(),
            Deed::Start => process.start(),
            Deed::Transfer => Ok(()),
        };
        match done {
            Ok(()) => {
                if matches!(deed, Deed::Kill | Deed::Terminate) {
                    self.ending.insert(place);
                }
                state.apply(at, Event::Deed { replica: place, deed });
                if deed == Deed::Terminate && process.state() == ProcessState::Paused {
                    let text = format!("replica {} is paused; it ends when it is resumed", process.name());
                    state.apply(at, Event::Said(Tone::Warn, text));
                }
            }
            Err(LocalError::Running(_)) if deed == Deed::Start && self.ending.contains(&place) => {
                self.waiting.insert(place);
                let text = format!("replica {} is started when it has ended", process.name());
                state.apply(at, Event::Said(Tone::Dim, text));
            }
            Err(error) => state.apply(at, Event::Said(Tone::Bad, chain(&error))),
        }
        self.look(cluster, state);
    }

    /// Looks at all processes, and starts those that waited for it.
    pub(super) fn look(&mut self, cluster: &Cluster, state: &mut State) {
        for (place, process) in cluster.processes().iter().enumerate() {
            let life = tell(place, process, state);
            if matches!(life, Life::Ended(_)) {
                self.ending.remove(&place);
                if self.waiting.remove(&place) {
                    self.act(cluster, state, Deed::Start, place);
                }
            }
        }
    }
}

fn tell(replica: usize, process: &Process, state: &mut State) -> Life {
    let life = match process.state() {
        ProcessState::Running => Life::Running,
        ProcessState::Paused => Life::Paused,
        ProcessState::Exited(how) => Life::Ended(how),
    };
    let pid = process.pid();
    state.apply(
        Moment::now(),
        Event::Process {
            replica,
            pid,
            life: life.clone(),
        },
    );
    life
}
