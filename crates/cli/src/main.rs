//! The binary `quorate`: one replica, a cluster on a laptop, and the commands that look at clusters, change them and
//! measure them.
//!
//! Promises: what a command prints on standard output is its result and nothing else; everything else, one clear line at
//! an error included, goes to standard error; exit codes are those of [`exit::Failure`]. Left out on purpose: any
//! knowledge that a library has not; commands parse, call and print.

mod allocator;
mod bench;
mod catalog;
mod config;
mod connect;
mod dev;
mod exit;
mod leader;
mod member;
mod output;
mod recover;
mod serve;
mod sessions;
mod snapshot;
mod status;
mod usage;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Failure;

const AFTER_HELP: &str = "\
Exit codes: 0 it worked; 1 the operation failed or was refused; 2 wrong usage or configuration; 3 no answer of the
cluster within the deadline; 4 a fault stopped the replica (serve).

Start here:  quorate dev";

/// The coordinator of a distributed vector database: three or five replicas, one Raft group, takeover in milliseconds.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, after_help = AFTER_HELP, max_term_width = 100, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, parsed once")]
enum Command {
    /// Start a whole cluster on this machine, with workers and load, to look at and to break
    Dev(dev::Arguments),
    /// Run one replica
    Serve(serve::Arguments),
    /// Print a commented configuration file for `serve`, or check one
    Config(config::Arguments),
    /// Show how every replica is doing
    Status(status::Status),
    /// Show who leads, or hand leadership over
    Leader(leader::Arguments),
    /// Show who is a member; let replicas vote, remove and replace them
    Member(member::Arguments),
    /// Create, change and show databases, collections, partitions and aliases
    Catalog(catalog::Catalog),
    /// Show the workers that hold sessions
    Sessions(sessions::Arguments),
    /// Show changes as they happen
    Watch(watch::Arguments),
    /// Back the cluster up into a file, look into one, or make a new cluster out of it
    Snapshot(snapshot::Arguments),
    /// Last resort: make a new cluster out of one surviving replica when the quorum is lost for good
    Recover(recover::Arguments),
    /// Measure: how long clients wait when the leader fails
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    allocator::use_huge_pages();
    // A pipe that was closed ends a command by an error of its writes, not by a panic of println.
    let parsed = CommandLine::try_parse().map_err(|error| usage::failure(&error));
    match parsed.and_then(|line| run(line.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::from(&failure)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Status(status) => connect::block_on(status::run(status)),
        Command::Leader(arguments) => connect::block_on(leader::run(arguments)),
        Command::Member(arguments) => connect::block_on(member::run(arguments)),
        Command::Catalog(catalog) => connect::block_on(catalog::run(catalog)),
        Command::Sessions(arguments) => connect::block_on(sessions::run(arguments)),
        Command::Snapshot(arguments) => connect::block_on(snapshot::run(arguments)),
        Command::Recover(arguments) => connect::block_on(recover::run(arguments)),
        Command::Watch(arguments) => connect::block_on(watch::run(arguments)),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
