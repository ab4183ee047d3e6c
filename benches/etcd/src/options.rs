//! The command line.

use std::path::PathBuf;

use clap::Parser;
use quorate_bench::BenchError;

use crate::plan::{Op, Which};

/// Rounds that anybody waits for.
const ROUNDS_MAX: u32 = 10_000;
/// More clients than this are not told apart from a broken number.
const CLIENTS_MAX: usize = 100_000;

/// Speed of etcd's API, at three replicas of Quorate and at three members of etcd.
#[derive(Debug, Clone, Parser)]
#[command(name = "quorate-bench-etcd")]
pub(crate) struct Options {
    /// An etcd binary; without it Quorate is measured alone.
    #[arg(long, value_name = "PATH")]
    pub(crate) etcd: Option<PathBuf>,
    /// A quorate binary; without it etcd is measured alone.
    #[arg(long, value_name = "PATH")]
    pub(crate) quorate: Option<PathBuf>,
    /// What is measured: put, txn, get, get-serializable, keepalive, watch, kill.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "put,txn,get,get-serializable,keepalive,watch"
    )]
    pub(crate) ops: Vec<Op>,
    /// Clients of a closed loop; each has one call under way.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1000")]
    pub(crate) clients: Vec<usize>,
    /// Watchers of one key, for `watch`.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    pub(crate) watchers: Vec<usize>,
    /// How long each stretch is.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Stretches of each system in each row; kills of each system and client.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// A file to which a line for each row is appended.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// A new directory for data and logs, kept afterwards; take one on the disk that you want to measure.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// The commit of the quorate binary, for the record.
    #[arg(long, default_value = "unknown")]
    pub(crate) commit: String,
}

impl Options {
    /// Refuses what cannot be done.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let refuse = |what: String| Err(BenchError::Usage(what));
        if self.systems().is_empty() {
            return refuse("nothing to measure; give --etcd, --quorate or both".to_owned());
        }
        for (flag, path) in [("--etcd", &self.etcd), ("--quorate", &self.quorate)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_file()) {
                return refuse(format!("{flag} names {}, which is no file", path.display()));
            }
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return refuse(format!("--rounds is {}; take 1 to {ROUNDS_MAX}", self.rounds));
        }
        if !(0.1..=3_600.0).contains(&self.seconds) {
            return refuse(format!("--seconds is {}; take 0.1 to 3600", self.seconds));
        }
        for (flag, counts) in [("--clients", &self.clients), ("--watchers", &self.watchers)] {
            if let Some(count) = counts.iter().find(|count| !(1..=CLIENTS_MAX).contains(*count)) {
                return refuse(format!("{flag} has {count}; take 1 to {CLIENTS_MAX}"));
            }
        }
        if self.ops.contains(&Op::Kill) && !crate::kill::IS_BUILT {
            return refuse("kill needs a build with --features etcd-client".to_owned());
        }
        Ok(())
    }

    /// Which systems there are, in the order of the tables.
    pub(crate) fn systems(&self) -> Vec<Which> {
        let given = [
            (Which::Etcd, self.etcd.is_some()),
            (Which::Quorate, self.quorate.is_some()),
        ];
        given
            .into_iter()
            .filter_map(|(which, is_given)| is_given.then_some(which))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        // A file that is always there.
        let this = std::env::current_exe().expect("a path").display().to_string();
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("good", &["--quorate", &this], None),
            ("nothing", &[], Some("--etcd")),
            ("no file", &["--etcd", "/no/such/etcd"], Some("--etcd")),
            (
                "no rounds",
                &["--quorate", &this, "--rounds", "0"],
                Some("--rounds"),
            ),
            (
                "no time",
                &["--quorate", &this, "--seconds", "0"],
                Some("--seconds"),
            ),
            (
                "no clients",
                &["--quorate", &this, "--clients", "1,0"],
                Some("--clients"),
            ),
            (
                "no watchers",
                &["--quorate", &this, "--watchers", "0"],
                Some("--watchers"),
            ),
        ];
        for (name, arguments, want) in cases {
            let arguments = std::iter::once(&"bench").chain(arguments.iter());
            let options = Options::try_parse_from(arguments).expect("parses");
            let got = options.check().err().map(|error| error.to_string());
            assert_eq!(got.is_some(), want.is_some(), "{name}: {got:?}");
            assert!(
                got.unwrap_or_default().contains(want.unwrap_or_default()),
                "{name}"
            );
        }
        assert!(Options::try_parse_from(["bench", "--ops", "put,steal"]).is_err());
    }
}
