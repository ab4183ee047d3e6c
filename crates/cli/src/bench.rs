//! `quorate bench`: measures.
//!
//! Promises: the figures go to standard output (and to `--json FILE`), what is said on the way to standard error; the
//! command fails when a call failed or a write was lost or doubled. Left out on purpose: all measuring; see `quorate-bench`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use quorate_bench::{BenchError, Fault, Options, Progress, Report};
use tracing_subscriber::EnvFilter;

use crate::exit::{Failure, chain};

/// The commit that the binary was built from, which only its builder knows for certain: whatever checkout the command is
/// run in later may be another.
const BUILT_FROM: &str = match option_env!("QUORATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// See the module.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Strike the leader of a local cluster again and again, and tell how long a client waited
    Failover(Failover),
}

#[derive(Debug, Args)]
struct Failover {
    /// What is done to the leader: kill (SIGKILL), term (SIGTERM), stop (SIGSTOP), transfer; one or several
    #[arg(long = "fault", value_name = "FAULT", value_delimiter = ',', default_value = "kill", value_parser = fault)]
    faults: Vec<Fault>,

    /// Rounds of each fault
    #[arg(long, default_value_t = 20)]
    rounds: u32,

    /// Replicas of the cluster: 3 or 5
    #[arg(long, default_value_t = 3)]
    replicas: usize,

    /// The replicas' timeouts: lan, zone or region
    #[arg(long)]
    profile: Option<String>,

    /// Objects in the catalog before the first round: half of them collections, half their partitions
    #[arg(long, default_value_t = 0)]
    objects: u64,

    /// Megabytes of rows in every replica's memory before the first round
    #[arg(long, value_name = "MB", default_value_t = 0)]
    ballast_mb: u64,

    /// Also measure how long a replica takes from its start until it is ready
    #[arg(long)]
    restart_time: bool,

    /// An etcd binary: strike it in turns with the cluster, at its default timing and at heartbeat 10 ms, election 50 ms
    #[arg(long, value_name = "PATH")]
    compare_etcd: Option<PathBuf>,

    /// New directory for data and logs, which are kept; by default a temporary one
    #[arg(long)]
    dir: Option<PathBuf>,

    /// File to which one line of JSON is appended for each system and fault
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// The commit to write into the records; by default what QUORATE_COMMIT said when this binary was built
    #[arg(long, value_name = "COMMIT", default_value = BUILT_FROM, hide_default_value = true)]
    commit: String,

    /// Also write the client's own log to standard error, as far as this filter lets it
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// The lines that --json appends
    Json,
}

fn fault(word: &str) -> Result<Fault, String> {
    word.parse()
        .map_err(|error: quorate_bench::UnknownFault| error.to_string())
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let What::Failover(arguments) = arguments.what;
    if let Some(path) = &arguments.json {
        // Before the long run, not after it.
        append(path, "")?;
    }
    if let Some(filter) = &arguments.log {
        log(filter)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(failover(arguments))
}

fn log(filter: &str) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Usage(format!("--log {filter:?}: {error}"));
    let filter = EnvFilter::try_new(filter).map_err(|error| failed(&error))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    lines.with_ansi(false).try_init().map_err(|error| failed(&error))
}

async fn failover(arguments: Failover) -> Result<(), Failure> {
    let (output, json) = (arguments.output, arguments.json.clone());
    let options = options(arguments)?;
    let progress: Progress = Arc::new(|line| eprintln!("{line}"));
    let report = tokio::select! {
        report = Box::pin(quorate_bench::failover(&options, &progress)) => report.map_err(|error| failure(&error))?,
        // The cluster goes with the future.
        _ = tokio::signal::ctrl_c() => return Err(Failure::Failed("interrupted; nothing was recorded".to_owned())),
    };
    tell(&report, output, json.as_deref())
}

fn options(arguments: Failover) -> Result<Options, Failure> {
    let program = std::env::current_exe();
    let program =
        program.map_err(|error| Failure::Failed(format!("this program's own file is not found: {error}")))?;
    Ok(Options {
        program,
        replicas: arguments.replicas,
        rounds: arguments.rounds,
        faults: arguments.faults,
        profile: arguments.profile,
        directory: arguments.dir,
        objects: arguments.objects,
        ballast_mb: arguments.ballast_mb,
        compare_etcd: arguments.compare_etcd,
        restart_time: arguments.restart_time,
        commit: arguments.commit,
    })
}

fn tell(report: &Report, output: Output, json: Option<&Path>) -> Result<(), Failure> {
    let lines = report.json_lines();
    if let Some(path) = json {
        append(path, &lines)?;
    }
    let text = match output {
        Output::Table => report.table(),
        Output::Json => lines,
    };
    // A pipe that was closed has read enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let Some(why) = &report.aborted {
        return Err(Failure::Failed(format!("the bench ended before its time: {why}")));
    }
    if !report.is_clean() {
        return Err(Failure::Failed(
            "calls failed, or writes were lost or doubled; see the table".to_owned(),
        ));
    }
    Ok(())
}

fn append(path: &Path, lines: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
    written.map_err(|error| Failure::Usage(format!("--json {} cannot be written: {error}", path.display())))
}

fn failure(error: &BenchError) -> Failure {
    match error {
        BenchError::Usage(line) => Failure::Usage(line.clone()),
        error => Failure::Failed(chain(error)),
    }
}
