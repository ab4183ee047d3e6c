//! Runs a script against both, and compares after each step.
//!
//! Promises: both do the same steps in the same order, at the same time; at the end all keys are compared at every revision
//! that can still be read; every difference is told with the operation and both answers, the first ones whole.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use crate::answer::{Answer, difference};
use crate::known::Ledger;
use crate::script::{self, Step};
use crate::servers::{Servers, is_twice};
use crate::side::Side;

/// Differences that are printed whole; after the first one, the others are often its consequences.
const PRINTED_MAX: usize = 8;
/// Revisions that are compared at the end at most: the newest.
const REVISIONS_MAX: i64 = 400;

/// `1`: every operation is printed with etcd's answer.
const SHOW: &str = "QUORATE_ETCD_SHOW";

/// Both sides, and what differed so far.
pub(crate) struct Run {
    servers: Servers,
    etcd: Side,
    quorate: Side,
    ledger: Ledger,
    steps: usize,
    differences: Vec<String>,
    /// The newest revision that etcd has told of.
    revision: i64,
    /// What etcd answered last.
    last: Answer,
    began: Instant,
    shows: bool,
}

impl Run {
    pub(crate) async fn start(area: &str, programs: &Path) -> Result<Self, String> {
        let servers = Servers::start(programs).await?;
        Ok(Self {
            etcd: Side::new(&servers.etcd(), programs),
            quorate: Side::new(&servers.other(), programs),
            ledger: Ledger::of(area)?,
            servers,
            steps: 0,
            differences: Vec::new(),
            revision: 0,
            last: Answer::default(),
            began: Instant::now(),
            shows: std::env::var_os(SHOW).is_some_and(|value| value == "1"),
        })
    }

    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// What etcd answered to the last step.
    pub(crate) fn last(&self) -> &Answer {
        &self.last
    }

    pub(crate) fn differs(&self) -> bool {
        !self.differences.is_empty()
    }

    /// Does a step at both, and compares.
    pub(crate) async fn perform(&mut self, step: &Step) {
        self.steps += 1;
        let (mut etcd, quorate) = tokio::join!(self.etcd.perform(step), self.quorate.perform(step));
        let etcd = etcd.swap_remove(0);
        let revision = etcd
            .get("header.revision")
            .and_then(|revision| revision.parse().ok());
        self.revision = self.revision.max(revision.unwrap_or_default());
        if let Some(wrong) = ["missing", "script"].iter().find_map(|path| etcd.get(path)) {
            self.note(
                step,
                &format!("the script is wrong, etcd itself does not do this ({wrong})"),
                &[],
            );
        }
        let first = quorate[0].clone().masked_who();
        for (number, other) in (2..).zip(&quorate[1..]) {
            if let Some(printed) = difference(&first, &other.clone().masked_who()) {
                let what = format!("replica 1 (-) and replica {number} (+) differ");
                self.note(step, &what, &printed);
            }
        }
        if let Some(printed) = difference(&etcd.clone().masked(), &first.masked())
            && !self.ledger.is_known(&step.text, &printed)
        {
            self.note(step, "etcd (-) and Quorate (+) differ", &printed);
        }
        if self.shows {
            println!("{}\n{}", step.text, etcd.print().join("\n"));
        }
        self.last = etcd;
    }

    fn note(&mut self, step: &Step, what: &str, printed: &[String]) {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "step {}, line {}: {what}:\n    {}",
            self.steps, step.line, step.text
        );
        for line in printed {
            let _ = writeln!(text, "    {line}");
        }
        self.differences.push(text);
    }

    /// Does all steps of a script.
    pub(crate) async fn script(&mut self, script: &str) -> Result<(), String> {
        for step in script::parse(script)? {
            self.perform(&step).await;
        }
        Ok(())
    }

    /// Compares all keys, now and as they were.
    pub(crate) async fn compare_all(&mut self) -> Result<(), String> {
        let all = r#"every Range key: "\0" range_end: "\0""#;
        self.perform(&script::call(all.to_owned())?).await;
        for revision in (1..=self.revision)
            .rev()
            .take(usize::try_from(REVISIONS_MAX).unwrap_or(0))
        {
            let step = script::call(format!(r#"Range key: "\0" range_end: "\0" revision: {revision}"#))?;
            self.perform(&step).await;
            if self.last.get("code").is_some() {
                // It is compacted, and so are those before.
                break;
            }
        }
        Ok(())
    }

    /// The verdict, after comparing everything that is stored.
    pub(crate) async fn finish(mut self, what: &str) -> Result<(), String> {
        self.compare_all().await?;
        let unmet = match is_twice() {
            true => Vec::new(),
            false => self.ledger.unmet(),
        };
        let mut verdict = String::new();
        for difference in self.differences.iter().take(PRINTED_MAX) {
            let _ = writeln!(verdict, "{difference}");
        }
        if let Some(more) = self.differences.len().checked_sub(PRINTED_MAX + 1) {
            let _ = writeln!(verdict, "and {} more differences", more + 1);
        }
        for known in unmet {
            let _ = writeln!(
                verdict,
                "not met: the file of differences says something else of\n    {}\n",
                known.operation
            );
        }
        drop(self.servers);
        println!(
            "{what}: {} steps, {:.1} s",
            self.steps,
            self.began.elapsed().as_secs_f64()
        );
        match verdict.is_empty() {
            true => Ok(()),
            false => Err(verdict),
        }
    }
}
