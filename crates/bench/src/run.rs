//! A whole run: start the systems, fill the catalog, go through the faults, and tell.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::{BenchError, with_causes};
use crate::etcd::{self, Timing};
use crate::options::Options;
use crate::pauses::Meter;
use crate::progress::Progress;
use crate::quorate::{self, ballast, objects, restart_times};
use crate::report::{Outcome, Report, Setting};
use crate::round::{self, Round};
use crate::surroundings;
use crate::system::System;

/// A system must settle within this, and within some more for each gigabyte that a member loads when it comes back.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);
const SETTLE_PATIENCE_PER_GB: Duration = Duration::from_secs(120);
/// Restarts that `--restart-time` measures.
const RESTARTS: u32 = 5;
/// Rounds between two lines of progress.
const TELL_EVERY: u32 = 10;

/// Measures what `options` ask for, telling on the way. Dropping the future kills what it started.
///
/// # Errors
/// [`BenchError`] when nothing could be measured. Once rounds have been run, the report says why there are no more.
pub async fn failover(options: &Options, progress: &Progress) -> Result<Report, BenchError> {
    options.check()?;
    let place = Place::new(options.directory.as_deref())?;
    let mut report = Report {
        setting: Setting {
            replicas: options.replicas,
            profile: options.profile.clone(),
            objects: options.objects,
            ballast_mb: options.ballast_mb,
            commit: options.commit.clone(),
            cores: surroundings::cores(),
            load_before: surroundings::load(),
            file_system: surroundings::file_system(place.path()),
            ..Setting::default()
        },
        ..Report::default()
    };
    let group = Box::new(quorate::Group::start(options, place.path()).await?);
    progress(format!(
        "{} replicas run in {}",
        options.replicas,
        place.path().display()
    ));
    if options.objects > 0 {
        objects(&group, options.objects, progress).await?;
    }
    if options.ballast_mb > 0 {
        ballast(&group, options.ballast_mb, progress).await?;
    }
    let mut others: Vec<Box<dyn System>> = Vec::new();
    if let Some(program) = &options.compare_etcd {
        for timing in Timing::ALL {
            let etcd = etcd::Group::start(program, timing, options.replicas, place.path()).await?;
            progress(format!("{} runs", etcd.name()));
            others.push(Box::new(etcd));
        }
    }
    let meter =
        Meter::start(place.path()).map_err(|cause| BenchError::io("watch the machine's pauses", cause))?;
    if let Err(error) = measure(options, &group, &others, &meter, progress, &mut report).await {
        report.aborted = Some(with_causes(&error));
    }
    group.stop().await;
    for other in others {
        other.stop().await;
    }
    place.leave(report.is_clean(), progress);
    report.setting.load_after = surroundings::load();
    report.setting.at_unix_ms = surroundings::unix_ms();
    Ok(report)
}

async fn measure(
    options: &Options,
    group: &quorate::Group,
    others: &[Box<dyn System>],
    meter: &Meter,
    progress: &Progress,
    report: &mut Report,
) -> Result<(), BenchError> {
    let patience = settle_patience(options.ballast_mb);
    let systems: Vec<&dyn System> = std::iter::once(group as &dyn System)
        .chain(others.iter().map(|other| &**other))
        .collect();
    for fault in &options.faults {
        let mut rounds: Vec<Vec<Round>> = systems.iter().map(|_| Vec::new()).collect();
        let mut all = async || {
            for number in 1..=options.rounds {
                for (system, rounds) in systems.iter().zip(&mut rounds) {
                    let round = Box::pin(round::run(*system, *fault, patience, meter)).await?;
                    tell(*system, fault.name(), number, options.rounds, &round, progress);
                    rounds.push(round);
                }
            }
            Ok(())
        };
        let ended: Result<(), BenchError> = all().await;
        for (system, rounds) in systems.iter().zip(&rounds) {
            report
                .results
                .push(Outcome::of_rounds(system.name(), fault.name(), rounds));
        }
        ended?;
    }
    if options.restart_time {
        let taken = restart_times(group, RESTARTS, patience).await?;
        report.results.push(Outcome::of_restarts(group.name(), taken));
    }
    Ok(())
}

/// A line for each tenth round, and for each that is not as it should be.
fn tell(system: &dyn System, fault: &str, number: u32, rounds: u32, round: &Round, progress: &Progress) {
    let bad = round.gap.is_none() || round.failed + round.tally.lost + round.tally.doubled > 0;
    if !bad && number != 1 && number != rounds && !number.is_multiple_of(TELL_EVERY) {
        return;
    }
    let gap = round.gap_ns().map_or_else(
        || "no recovery".to_owned(),
        |ns| format!("{:.1} ms", crate::percentile::milliseconds(ns)),
    );
    let (failed, lost, doubled) = (round.failed, round.tally.lost, round.tally.doubled);
    progress(format!(
        "{} {fault} {number} of {rounds}: {gap}, {failed} failed, {lost} lost, {doubled} doubled",
        system.name()
    ));
}

fn settle_patience(ballast_mb: u64) -> Duration {
    let gigabytes = u32::try_from(ballast_mb.div_ceil(1_024)).unwrap_or(u32::MAX);
    SETTLE_PATIENCE.saturating_add(SETTLE_PATIENCE_PER_GB.saturating_mul(gigabytes))
}

/// Where the members' data and logs lie.
enum Place {
    /// Removed in the end, unless something went wrong.
    Temporary(TempDir),
    /// Given, and left.
    Given(PathBuf),
}

impl Place {
    fn new(given: Option<&Path>) -> Result<Self, BenchError> {
        let Some(given) = given else {
            let made = TempDir::with_prefix("quorate-bench-");
            return made
                .map(Self::Temporary)
                .map_err(|cause| BenchError::io("make a temporary directory", cause));
        };
        let what = || format!("use the directory {}", given.display());
        std::fs::create_dir_all(given).map_err(|cause| BenchError::io(what(), cause))?;
        let mut entries = std::fs::read_dir(given).map_err(|cause| BenchError::io(what(), cause))?;
        if entries.next().is_some() {
            return Err(BenchError::Usage(format!(
                "--dir {} is not empty; name another directory",
                given.display()
            )));
        }
        Ok(Self::Given(given.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Given(directory) => directory,
        }
    }

    fn leave(self, clean: bool, progress: &Progress) {
        if let Self::Temporary(directory) = self
            && !clean
        {
            progress(format!(
                "data and logs are kept in {}",
                directory.keep().display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_in_it_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let new = directory.path().join("new");
        let place = Place::new(Some(&new)).expect("is made");
        assert_eq!(place.path(), new);
        let error = Place::new(Some(directory.path()))
            .err()
            .expect("is refused")
            .to_string();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn more_to_load_takes_longer() {
        for (ballast_mb, seconds) in [(0, 60), (1, 180), (1_024, 180), (1_025, 300)] {
            assert_eq!(settle_patience(ballast_mb).as_secs(), seconds);
        }
    }
}
