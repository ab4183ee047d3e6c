//! What happens, as the model hears it. Everything that the screen shows comes through here.

use quorate_client::v1;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// What the process of a replica does now.
    Process {
        /// The replica's place in the list.
        replica: usize,
        /// Its process id while there is one.
        pid: Option<u32>,
        /// What it does.
        life: Life,
    },
    /// What a replica said of itself, or why it did not.
    Status {
        /// The replica's place in the list.
        replica: usize,
        /// The answer.
        answer: Result<Box<v1::StatusResponse>, String>,
    },
    /// Who leads, as clients believe; none while nobody is known to.
    Leader(Option<Leading>),
    /// A write was sent.
    WriteSent,
    /// It was acknowledged.
    WriteAcknowledged,
    /// It was given up, and why.
    WriteFailed(String),
    /// A read was answered.
    ReadAnswered,
    /// A read was given up, and why.
    ReadFailed(String),
    /// The session of a worker.
    Worker {
        /// The worker's place in the list.
        number: usize,
        /// Its state now.
        session: Session,
    },
    /// The user did something to a replica.
    Deed {
        /// The replica's place in the list.
        replica: usize,
        /// What.
        deed: Deed,
    },
    /// Something to tell.
    Said(Tone, String),
    /// How far the start is.
    Stage(Stage),
    /// Time has passed.
    Tick,
}

/// What a process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    /// It was not started yet.
    Unborn,
    /// It runs.
    Running,
    /// It was stopped where it stands.
    Paused,
    /// It ended: its exit status in words.
    Ended(String),
}

/// A leader and its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leading {
    /// The replica's id.
    pub(super) node: u64,
    /// Its term.
    pub(super) term: u64,
}

/// The state of a worker's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// It is being opened.
    Connecting,
    /// The cluster confirms it.
    Ready {
        /// Its fencing number.
        epoch: u64,
    },
    /// Nobody confirms it at the moment.
    Jeopardy,
    /// It is over.
    Fenced,
}

/// What a user can do to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// SIGTERM.
    Terminate,
    /// It is started again.
    Start,
    /// It was asked to hand leadership over.
    Transfer,
}

/// How far the program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// What the start waits for.
    Starting(String),
    /// Everything runs.
    Running,
    /// The end has begun.
    Stopping,
}

/// How news are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As anything.
    Plain,
    /// Of little weight.
    Dim,
    /// A heading.
    Bold,
    /// As it should be.
    Good,
    /// Something to look at.
    Warn,
    /// Something is wrong.
    Bad,
}
