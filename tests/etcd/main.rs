//! Quorate beside a real etcd: the same calls to both, and the answers compared.
//!
//! One node of etcd and three replicas of Quorate are started for each area, and each of hundreds of operations (see
//! `script`) is done at both: with etcdctl, and with a client that can set every field of every message. Answers are compared
//! field by field, errors with their codes and texts; ids, terms and the like are masked (see `answer`). Differences that are on
//! purpose stand in the file `differences`. Then the crate `etcd-client` tells a story at both (see `client`), and random
//! transactions follow; `QUORATE_SEED=7` replays one seed.
//!
//! It needs etcd and etcdctl 3.5 in the directory that `QUORATE_ETCD_BIN` names, and for `etcd-client` the feature
//! `quorate-testkit/etcd-client`, which is built with `protoc`; `.ci/run` says how to get both. What is missing is printed, and
//! the tests that need it are listed as ignored; `QUORATE_REQUIRE_ETCD=1` turns this into failures. Areas that Quorate does not
//! serve yet are listed as ignored, too (see `areas`).
//!
//! `QUORATE_ETCD_SHOW=1` prints every operation with etcd's answer, `QUORATE_ETCD_TWICE=1` compares etcd with itself: a script that
//! fails then is wrong.
//!
//! Left out on purpose: several members of etcd; how long anything takes.
#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

mod answer;
mod areas;
mod client;
mod ctl;
mod known;
mod message;
mod random;
mod raw;
mod resets;
mod run;
mod script;
mod servers;
mod side;
mod tls;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use rand::RngExt;

use areas::{AREAS, Area};
use client::PARTS;
use quorate_testkit::etcd_client::IS_BUILT;
use run::Run;

/// Where etcd and etcdctl are.
const PROGRAMS: &str = "QUORATE_ETCD_BIN";
/// `1`: a test that cannot run fails.
const REQUIRED: &str = "QUORATE_REQUIRE_ETCD";
/// Why the crate `etcd-client` is not tried.
const UNBUILT: &str = "built without `--features quorate-testkit/etcd-client`, which needs protoc";
/// The seed of random transactions; without it, one that is always tried and one that is new.
const SEED: &str = "QUORATE_SEED";

/// Why a test does not run.
#[derive(Debug, Clone)]
enum Obstacle {
    /// Something is missing here: a failure where everything is required.
    Missing(String),
    /// Quorate does not serve it yet.
    Unserved(&'static str),
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Four servers run at a time, and the machine may be small.
    arguments.test_threads = Some(1);
    let seeds = match seeds() {
        Ok(seeds) => seeds,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut trials = vec![Trial::test("scripts_can_be_read", || Ok(readable()?))];
    for area in AREAS {
        let obstacle = obstacle(area.waits_for);
        trials.push(trial(area.name.to_owned(), obstacle, |programs| {
            blocking(in_area(area, programs))
        }));
    }
    for (name, part, waits_for) in PARTS {
        let unbuilt = (!IS_BUILT).then(|| Obstacle::Missing(UNBUILT.to_owned()));
        let obstacle = obstacle(*waits_for).or(unbuilt);
        trials.push(trial((*name).to_owned(), obstacle, move |programs| {
            blocking(async move { Box::pin(client::run(*part, &programs)).await })
        }));
    }
    let unbuilt = (!IS_BUILT).then(|| Obstacle::Missing(UNBUILT.to_owned()));
    let keepers = [
        ("resets_go", resets::Of::Go, None),
        ("resets_rust", resets::Of::Rust, unbuilt),
    ];
    for (name, of, unbuilt) in keepers {
        let obstacle = obstacle(None).or(unbuilt);
        trials.push(trial(name.to_owned(), obstacle, move |programs| {
            blocking(async move { resets::run(of, &programs).await })
        }));
    }
    trials.push(trial("tls".to_owned(), obstacle(None), |programs| {
        blocking(async move { tls::run(&programs).await })
    }));
    for seed in seeds {
        trials.push(trial(format!("random_{seed}"), obstacle(None), move |programs| {
            blocking(async move { random::run(seed, &programs).await })
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What is in the way of every test, or of one that needs a service.
fn obstacle(waits_for: Option<&'static str>) -> Option<Obstacle> {
    let unserved = waits_for.map(Obstacle::Unserved);
    unserved.or_else(|| programs().err().map(Obstacle::Missing))
}

/// A test, or one that is listed as ignored; which says why.
fn trial(
    name: String,
    obstacle: Option<Obstacle>,
    test: impl FnOnce(PathBuf) -> Result<(), String> + Send + 'static,
) -> Trial {
    let is_required = std::env::var_os(REQUIRED).is_some_and(|value| value == "1");
    match obstacle {
        Some(Obstacle::Missing(why)) if is_required => {
            return Trial::test(name, move || {
                Err(Failed::from(format!("required, but it cannot run here: {why}")))
            });
        }
        Some(Obstacle::Missing(why)) => eprintln!("skipped: {name}: {why}"),
        Some(Obstacle::Unserved(service)) => eprintln!("skipped: {name}: {service} is not served yet"),
        None => return Trial::test(name, || Ok(test(programs()?)?)),
    }
    // With --include-ignored it runs as far as it can.
    Trial::test(name, || Ok(test(programs()?)?)).with_ignored_flag(true)
}

fn blocking(test: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(test)
}

async fn in_area(area: &Area, programs: PathBuf) -> Result<(), String> {
    let mut run = Run::start(area.name, &programs).await?;
    run.script(&area.script()?).await?;
    run.finish(area.name).await
}

fn programs() -> Result<PathBuf, String> {
    let Some(directory) = std::env::var_os(PROGRAMS).filter(|directory| !directory.is_empty()) else {
        return Err(format!("{PROGRAMS} names no directory with etcd and etcdctl"));
    };
    let directory = PathBuf::from(directory);
    let missing = ["etcd", "etcdctl"].map(|name| directory.join(name));
    match missing.iter().find(|program| !program.is_file()) {
        Some(program) => Err(format!(
            "{PROGRAMS} is set, but there is no {}",
            program.display()
        )),
        None => Ok(directory),
    }
}

fn seeds() -> Result<Vec<u64>, String> {
    match std::env::var(SEED).ok().filter(|seed| !seed.is_empty()) {
        Some(seed) => {
            let seed = seed.parse();
            seed.map(|seed| vec![seed])
                .map_err(|_| format!("{SEED} is no number"))
        }
        None => Ok(vec![1, rand::rng().random_range(2..1_000_000)]),
    }
}

/// Every script can be read, and every difference that is on purpose is about an operation of its script.
fn readable() -> Result<(), String> {
    let known = known::all()?;
    let mut operations = 0;
    for area in AREAS {
        let steps = script::parse(&area.script()?).map_err(|why| format!("{}: {why}", area.name))?;
        operations += steps.len();
        for known in known.iter().filter(|known| known.area == area.name) {
            if !steps.iter().any(|step| step.text == known.operation) {
                return Err(format!("differences: {} has no {:?}", area.name, known.operation));
            }
        }
    }
    if let Some(stray) = known
        .iter()
        .find(|known| AREAS.iter().all(|area| area.name != known.area))
    {
        return Err(format!("differences: there is no area {}", stray.area));
    }
    println!(
        "{operations} operations in {} areas, {} differences on purpose",
        AREAS.len(),
        known.len()
    );
    Ok(())
}
