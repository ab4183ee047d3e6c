//! `quorate watch`: changes as they happen, one line each.
//!
//! Promises: every change once and in order, over leader changes and replicas that die; ends in order on Ctrl-C, when
//! the reader of the output goes away (also while nothing happens), and after `--limit` events. Left out on purpose:
//! selecting by name; the protocol selects by kind, and `grep` and `jq` do the rest.

mod lines;
mod pipe;

use std::io;
use std::thread;

use quorate_client::{Client, OnCompaction, Watch, WatchItem, v1};
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;

use crate::connect::{Connection, reached};
use crate::exit::Failure;
use crate::output::{self, Format};
use lines::Teller;

/// Messages that wait for the reader of the output; then the watch waits, and the replica with it.
const QUEUE: usize = 16;

/// See the module.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  quorate watch --kind collection --kind alias
  quorate watch --with-state --output json | jq -c 'select(.type == \"event\")'
  quorate watch --from-revision 42 --limit 10

Ends on Ctrl-C. The line `synced` says that what existed has been shown; from there on events are news.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Only changes of things of this kind; repeatable
    #[arg(long = "kind", value_enum)]
    kinds: Vec<Kind>,
    /// Begin with the changes of this revision, instead of those that come from now on
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    from_revision: Option<u64>,
    /// Show what there is first, then the changes
    #[arg(long, conflicts_with = "from_revision")]
    with_state: bool,
    /// What to do when the changes that come next are no longer kept
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    on_compaction: Then,
    /// End after this many events
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Kinds of things.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    Database,
    Collection,
    Partition,
    Alias,
    Session,
}

/// What to do after a compaction.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Then {
    /// End with exit code 1
    #[default]
    End,
    /// Show what there is, and go on from there
    Restart,
}

impl From<Kind> for v1::ResourceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Database => Self::Database,
            Kind::Collection => Self::Collection,
            Kind::Partition => Self::Partition,
            Kind::Alias => Self::Alias,
            Kind::Session => Self::Session,
        }
    }
}

/// Watches until something ends it.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let client = arguments.connection.client()?;
    let watched = watch(&arguments, &client).await;
    client.close().await;
    watched
}

async fn watch(arguments: &Arguments, client: &Client) -> Result<(), Failure> {
    // A watch itself has no deadline; that there is a cluster at all should show at once.
    reached(client).await?;
    let watch = client.watch(arguments.request(), arguments.on_compaction.into());
    let (lines, written) = writer();
    let ended = tokio::select! {
        ended = forward(arguments, watch, lines) => ended,
        // The writer may be stuck in a pipe that nobody reads, so it is not waited for.
        interrupted = ctrl_c() => return Ok(interrupted?),
        () = pipe::reader_gone(io::stdout()) => return Err(Failure::ReaderGone),
    };
    match ended {
        // Everything is in the writer's queue or written: its own end counts.
        Forwarded::All(ended) => join(written)?.and(ended),
        Forwarded::WriterGone => join(written)?,
    }
}

enum Forwarded {
    All(Result<(), Failure>),
    WriterGone,
}

/// Hands the lines of every item to the writer.
async fn forward(arguments: &Arguments, mut watch: Watch, lines: mpsc::Sender<String>) -> Forwarded {
    let mut teller = Teller::new(
        arguments.connection.format() == Format::Json,
        arguments.with_state,
        arguments.limit,
    );
    while let Some(item) = watch.next().await {
        let item = match item {
            Ok(item) => item,
            Err(error) => return Forwarded::All(Err(error.into())),
        };
        let compacted = match &item {
            WatchItem::Compacted { floor } => Some(*floor),
            _ => None,
        };
        let text = match teller.tell(&item) {
            Ok(text) => text,
            Err(failure) => return Forwarded::All(Err(failure)),
        };
        if !text.is_empty() && lines.send(text).await.is_err() {
            return Forwarded::WriterGone;
        }
        if let Some(floor) = compacted {
            return Forwarded::All(Err(Failure::Failed(format!(
                "changes before revision {floor} are no longer kept; watch --with-state, or --on-compaction restart"
            ))));
        }
        if teller.has_enough() {
            break;
        }
    }
    Forwarded::All(Ok(()))
}

/// A thread that writes: a pipe that nobody reads must not keep the process from hearing Ctrl-C.
fn writer() -> (mpsc::Sender<String>, thread::JoinHandle<Result<(), Failure>>) {
    let (lines, mut queue) = mpsc::channel::<String>(QUEUE);
    let written = thread::spawn(move || {
        while let Some(text) = queue.blocking_recv() {
            output::write(&text)?;
        }
        Ok(())
    });
    (lines, written)
}

fn join(written: thread::JoinHandle<Result<(), Failure>>) -> Result<Result<(), Failure>, Failure> {
    written
        .join()
        .map_err(|_| Failure::Failed("the output's thread has died; report this".to_owned()))
}

impl Arguments {
    fn request(&self) -> v1::WatchRequest {
        let kinds = self.kinds.iter().map(|kind| v1::ResourceKind::from(*kind).into());
        v1::WatchRequest {
            from_revision: self.from_revision.unwrap_or_default(),
            kinds: kinds.collect(),
            with_state: self.with_state,
        }
    }
}

impl From<Then> for OnCompaction {
    fn from(then: Then) -> Self {
        match then {
            Then::End => Self::End,
            Then::Restart => Self::Restart,
        }
    }
}
