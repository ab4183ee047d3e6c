//! A run: both systems are started once, and take turns until all is measured.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_bench::BenchError;
use quorate_bench::parts::{cores, file_system, load, unix_ms};
use tokio::time::sleep;

use crate::cpu;
use crate::figures::{Figures, Stretch};
use crate::kill;
use crate::load::Ground;
use crate::options::Options;
use crate::plan::{Cell, Op, Which, cells, turns};
use crate::report::{Report, Row, Setting};
use crate::system::System;

/// How long both do nothing, to see what that costs.
const IDLE: Duration = Duration::from_secs(3);

/// Measures, and prints what was seen so far even when something fails on the way.
pub(crate) async fn run(options: &Options) -> Result<(), BenchError> {
    options.check()?;
    let temporary;
    let directory = if let Some(directory) = &options.dir {
        std::fs::create_dir_all(directory).map_err(|cause| io("make the directory", cause))?;
        directory.clone()
    } else {
        temporary = tempfile::Builder::new().prefix("quorate-speed-").tempdir();
        let temporary = temporary
            .as_ref()
            .map_err(|error| BenchError::Broken(format!("there is no temporary directory: {error}")));
        temporary?.path().to_owned()
    };
    let mut systems = Vec::new();
    for which in options.systems() {
        let program = match which {
            Which::Etcd => options.etcd.as_ref(),
            Which::Quorate => options.quorate.as_ref(),
        };
        let program = program.ok_or_else(|| BenchError::Broken("a system without a program".to_owned()))?;
        eprintln!("starting {}", which.name());
        systems.push(System::start(which, program, &directory).await?);
    }
    let mut report = Report::new(setting(options, &directory));
    let measured = measure(options, &systems, &mut report).await;
    report.setting.load_after = load();
    for system in systems {
        system.stop().await;
    }
    println!("{}", report.table());
    if let Some(path) = &options.json {
        append(path, &report.json_lines())?;
    }
    measured
}

async fn measure(options: &Options, systems: &[System], report: &mut Report) -> Result<(), BenchError> {
    let cells = cells(&options.ops, &options.clients, &options.watchers);
    if !cells.is_empty() {
        for system in systems {
            let idle = idle(system).await;
            report.setting.idle.push((system.which, idle));
        }
        let stretches = stretches(options, systems, &cells).await;
        for cell in cells {
            for system in systems {
                let of = |(of, which, _): &&(Cell, Which, Stretch)| (*of, *which) == (cell, system.which);
                let own = stretches
                    .0
                    .iter()
                    .filter(of)
                    .map(|(_, _, stretch)| stretch.clone());
                let figures = Figures::of(&own.collect::<Vec<_>>());
                let which = system.which;
                report.rows.push(Row { cell, which, figures });
            }
        }
        stretches.1?;
    }
    if options.ops.contains(&Op::Kill) {
        report.kills = kill::run(systems, options.rounds).await?;
    }
    Ok(())
}

/// All stretches up to the first error.
async fn stretches(
    options: &Options,
    systems: &[System],
    cells: &[Cell],
) -> (Vec<(Cell, Which, Stretch)>, Result<(), BenchError>) {
    let mut done = Vec::new();
    let outcome = async {
        let mut grounds = Vec::new();
        for system in systems {
            grounds.push(Ground::prepare(system, &options.ops).await?);
        }
        let turns = turns(cells, options.rounds, &options.systems());
        for (number, turn) in turns.iter().enumerate() {
            let place = systems.iter().position(|system| system.which == turn.which);
            let Some((system, ground)) = place.map(|place| (&systems[place], &grounds[place])) else {
                continue;
            };
            let (op, clients, name) = (turn.cell.op.name(), turn.cell.clients, turn.which.name());
            eprintln!("{} of {}: {op} {clients} {name}", number + 1, turns.len());
            system.settle().await?;
            let long = Duration::from_secs_f64(options.seconds);
            let stretch = ground.stretch(system, turn.cell, long).await?;
            done.push((turn.cell, turn.which, stretch));
        }
        Ok(())
    }
    .await;
    (done, outcome)
}

/// What a system uses when nobody asks it anything, in percent of a core.
async fn idle(system: &System) -> f64 {
    let pids = system.pids();
    let before = cpu::used(&pids);
    sleep(IDLE).await;
    let used = cpu::used(&pids).saturating_sub(before);
    100.0 * used.as_secs_f64() / IDLE.as_secs_f64()
}

fn setting(options: &Options, directory: &Path) -> Setting {
    Setting {
        seconds: options.seconds,
        cores: cores(),
        load_before: load(),
        load_after: None,
        file_system: file_system(directory),
        commit: options.commit.clone(),
        at_unix_ms: unix_ms(),
        idle: Vec::new(),
    }
}

fn append(path: &PathBuf, lines: &str) -> Result<(), BenchError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(lines.as_bytes()))
        .map_err(|cause| io("write the record", cause))
}

fn io(what: &str, cause: std::io::Error) -> BenchError {
    BenchError::Io {
        what: what.to_owned(),
        cause,
    }
}
