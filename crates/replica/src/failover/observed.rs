//! What this replica itself has observed about the present leadership: the input of the gate and of the crash election.
//!
//! Promises: a leader is called dead only when the run of its process under which it leads is dead on the
//! [`Board`]; a death of an earlier run says nothing about a leader that came back and was elected again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_types::{BootId, NodeId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Reign;
use super::gate::Knowledge;
use crate::liveness::board::Board;

/// See the module.
#[derive(Debug)]
pub(crate) struct Observed {
    board: Arc<Board>,
    state: Mutex<State>,
    version: watch::Sender<u64>,
    /// Until then nothing is granted on another's word: see [`super::gate`].
    silent_until: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// The run under which the newest reign that appended here leads.
    leader_run: Option<(Reign, BootId)>,
    /// When it last appended here.
    heard: Option<Instant>,
    transfer: Option<(Reign, NodeId)>,
    died: Option<Reign>,
}

impl Observed {
    /// `silence` is one lease when the replica may have promised one before this boot, zero otherwise.
    pub(crate) fn new(board: Arc<Board>, silence: Duration) -> Arc<Self> {
        let silent_until = Instant::now() + silence;
        Arc::new(Self {
            board,
            state: Mutex::default(),
            version: watch::Sender::new(0),
            silent_until,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `reign` appends here, from run `boot`. Called for every append, so it is cheap when nothing changes.
    pub(crate) fn leader_runs(&self, reign: Reign, boot: BootId) {
        let mut state = self.state();
        let newer = match state.leader_run {
            None => true,
            Some((known, run)) => reign > known || (reign == known && run != boot),
        };
        if newer || state.leader_run.is_some_and(|(known, _)| known == reign) {
            state.heard = Some(Instant::now());
        }
        if newer {
            state.leader_run = Some((reign, boot));
            drop(state);
            self.version.send_modify(|version| *version += 1);
        }
    }

    /// `reign` hands over to `to`: received from its leader, or started by ourselves.
    pub(crate) fn transfer_seen(&self, reign: Reign, to: NodeId) {
        self.state().transfer = Some((reign, to));
        self.version.send_modify(|version| *version += 1);
    }

    /// The last transfer that was seen.
    pub(crate) fn transfer(&self) -> Option<(Reign, NodeId)> {
        self.state().transfer
    }

    /// Our own evidence of the death of `reign`'s leader was complete.
    pub(crate) fn note_death(&self, reign: Reign) {
        self.state().died = Some(reign);
    }

    /// The last reign whose leader's death we had evidence of.
    pub(crate) fn died(&self) -> Option<Reign> {
        self.state().died
    }

    /// The process under which `reign` leads is gone for certain.
    pub(crate) fn leader_is_dead(&self, reign: Reign) -> bool {
        let leader_run = self.state().leader_run;
        leader_run.is_some_and(|(known, boot)| known == reign && self.board.is_dead(reign.leader, boot))
    }

    /// The run under which `reign` leads, when it has appended here.
    pub(crate) fn run_of(&self, reign: Reign) -> Option<BootId> {
        self.state()
            .leader_run
            .filter(|(known, _)| *known == reign)
            .map(|(_, boot)| boot)
    }

    /// How long ago the newest leader that we know appended here.
    pub(crate) fn leader_contact(&self) -> Option<Duration> {
        self.state().heard.map(|heard| heard.elapsed())
    }

    /// What the gate must know, for a voter whose vote is for `follows`.
    pub(crate) fn knowledge(&self, follows: Option<Reign>) -> Knowledge {
        Knowledge {
            follows,
            leader_is_dead: follows.is_some_and(|reign| self.leader_is_dead(reign)),
            transfer: self.transfer(),
            silence_left: self.silent_until.saturating_duration_since(Instant::now()),
        }
    }

    /// Tells of every change from now on.
    pub(crate) fn subscribe(&self) -> Changes {
        let mut changes = Changes {
            board: self.board.subscribe(),
            own: self.version.subscribe(),
        };
        changes.board.mark_unchanged();
        changes.own.mark_unchanged();
        changes
    }
}

/// See [`Observed::subscribe`].
#[derive(Debug)]
pub(crate) struct Changes {
    board: watch::Receiver<u64>,
    own: watch::Receiver<u64>,
}

impl Changes {
    /// Waits for the next change. Cancel-safe. Pends for ever once the replica is gone.
    pub(crate) async fn changed(&mut self) {
        let result = tokio::select! {
            result = self.board.changed() => result,
            result = self.own.changed() => result,
        };
        if result.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use quorate_types::Term;

    use super::*;
    use crate::liveness::evidence::Sign;

    const LEADER: NodeId = NodeId(1);
    const OLD: Reign = Reign {
        term: Term(3),
        leader: LEADER,
    };
    const NEW: Reign = Reign {
        term: Term(4),
        leader: LEADER,
    };

    fn kill(board: &Board, boot: BootId) {
        let here = SocketAddr::from(([127, 0, 0, 1], 1));
        for sign in [Sign::Hello(boot, here), Sign::Broke, Sign::Refused(here)] {
            board.observe(LEADER, sign);
        }
    }

    #[tokio::test]
    async fn a_leader_that_came_back_is_not_its_dead_run() {
        let board = Board::new();
        let observed = Observed::new(Arc::clone(&board), Duration::ZERO);
        observed.leader_runs(OLD, BootId(1));
        kill(&board, BootId(1));
        assert!(observed.leader_is_dead(OLD));
        observed.leader_runs(NEW, BootId(2));
        assert!(!observed.leader_is_dead(NEW));
        assert!(
            !observed.leader_is_dead(OLD),
            "nobody follows the old reign any more"
        );
    }

    #[tokio::test]
    async fn a_late_append_of_an_old_reign_hides_nothing() {
        let board = Board::new();
        let observed = Observed::new(Arc::clone(&board), Duration::ZERO);
        observed.leader_runs(NEW, BootId(2));
        observed.leader_runs(OLD, BootId(1));
        assert_eq!(observed.run_of(NEW), Some(BootId(2)));
    }

    #[tokio::test]
    async fn a_leader_that_never_appended_here_cannot_be_called_dead() {
        let board = Board::new();
        let observed = Observed::new(Arc::clone(&board), Duration::ZERO);
        kill(&board, BootId(1));
        assert!(!observed.leader_is_dead(OLD));
    }

    #[tokio::test(start_paused = true)]
    async fn the_silence_after_boot_ends() {
        let observed = Observed::new(Board::new(), Duration::from_millis(600));
        assert_eq!(observed.knowledge(None).silence_left, Duration::from_millis(600));
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(observed.knowledge(None).silence_left, Duration::ZERO);
    }
}
