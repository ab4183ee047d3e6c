//! A run as a table for people and as lines of JSON. Pure.

use std::fmt::Write;

use quorate_bench::Percentiles;
use quorate_bench::parts::aligned;
use serde_json::{Value, json};

use crate::figures::Figures;
use crate::kill::Kills;
use crate::load::VALUE_BYTES;
use crate::plan::{Cell, Which};
use crate::system::MEMBERS;

const HEAD: [&str; 11] = [
    "op", "clients", "system", "per s", "ratio", "p50", "p99", "p99.9", "cpu us", "own us", "failed",
];
const KILLS_HEAD: [&str; 10] = [
    "system", "client", "rounds", "gap p50", "gap max", "silence", "slowest", "failed", "puts", "late",
];

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) which: Which,
    pub(crate) figures: Figures,
}

/// What the figures belong to.
#[derive(Debug, Default)]
pub(crate) struct Setting {
    pub(crate) seconds: f64,
    pub(crate) cores: usize,
    pub(crate) load_before: Option<f64>,
    pub(crate) load_after: Option<f64>,
    pub(crate) file_system: Option<String>,
    pub(crate) commit: String,
    pub(crate) at_unix_ms: u64,
    /// Percent of a core that each system uses when it is not asked anything.
    pub(crate) idle: Vec<(Which, f64)>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) setting: Setting,
    pub(crate) rows: Vec<Row>,
    pub(crate) kills: Vec<Kills>,
}

impl Report {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            setting,
            ..Self::default()
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            let _ = writeln!(
                text,
                "calls (watch: events) per second, their times in ms, processor time of the {MEMBERS} servers and of the client for each"
            );
            let rows: Vec<Vec<String>> = self.rows.iter().map(|row| self.row(row)).collect();
            text += &aligned(&HEAD.map(str::to_owned), &rows);
        }
        if !self.kills.is_empty() {
            let _ = writeln!(
                text,
                "\nthe leader killed under 1,000 puts per second: gap from the kill to the first answer, ms; medians of the longest\n\
                 silence and of the slowest put of each round"
            );
            let rows: Vec<Vec<String>> = self.kills.iter().map(kills_row).collect();
            text += &aligned(&KILLS_HEAD.map(str::to_owned), &rows);
        }
        let failures = self.rows.iter().filter_map(|row| {
            let why = row.figures.first_failure.as_ref()?;
            let (op, clients) = (row.cell.op.name(), row.cell.clients);
            Some(format!(
                "{} {op} {clients}: the first failure: {why}",
                row.which.name()
            ))
        });
        let kills = self.kills.iter().filter_map(|kills| {
            let why = kills.first_failure.as_ref()?;
            let (system, client) = (kills.which.name(), kills.view.name());
            Some(format!("{system} kill, {client}: the first failure: {why}"))
        });
        for line in failures.chain(kills) {
            let _ = writeln!(text, "\n{line}");
        }
        let _ = write!(text, "\n{}", self.setting.line());
        text
    }

    fn row(&self, row: &Row) -> Vec<String> {
        let figures = &row.figures;
        let ratio = (row.which == Which::Quorate).then(|| self.ratio(row)).flatten();
        let ms = |value: Option<f64>| cell(value, |value| format!("{value:.2}"));
        let us = |value: Option<f64>| cell(value, |value| format!("{value:.0}"));
        vec![
            row.cell.op.name().to_owned(),
            row.cell.clients.to_string(),
            row.which.name().to_owned(),
            us(figures.rate),
            cell(ratio, |ratio| format!("{ratio:.2}x")),
            ms(figures.p50_ms),
            ms(figures.p99_ms),
            ms(figures.p999_ms),
            us(figures.servers_us),
            us(figures.client_us),
            figures.failed.to_string(),
        ]
    }

    /// Its throughput, times that of etcd.
    fn ratio(&self, row: &Row) -> Option<f64> {
        let same = |other: &&Row| other.cell == row.cell && other.which == Which::Etcd;
        let etcd = self.rows.iter().find(same)?.figures.rate?;
        (etcd > 0.0)
            .then(|| row.figures.rate.map(|rate| rate / etcd))
            .flatten()
    }

    /// One line for each row, each with its newline.
    pub(crate) fn json_lines(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let figures = &row.figures;
            json!({
                "op": row.cell.op.name(),
                "clients": row.cell.clients,
                "system": row.which.name(),
                "stretches": figures.stretches,
                "count": figures.count,
                "per_s": figures.rate,
                "rates": figures.rates,
                "p50_ms": figures.p50_ms,
                "p99_ms": figures.p99_ms,
                "p999_ms": figures.p999_ms,
                "servers_cpu_us": figures.servers_us,
                "client_cpu_us": figures.client_us,
                "failed": figures.failed,
                "setting": self.setting.json(),
            })
        });
        let kills = self.kills.iter().map(|kills| {
            json!({
                "op": "kill",
                "client": kills.view.name(),
                "system": kills.which.name(),
                "rounds": kills.rounds,
                "gap_ms": kills.gap_ms().map(percentiles),
                "silence_ms": kills.silence_ms().map(percentiles),
                "slowest_ms": kills.slowest_ms().map(percentiles),
                "unrecovered": kills.unrecovered,
                "failed": kills.failed,
                "puts": kills.puts,
                "late": kills.late,
                "setting": self.setting.json(),
            })
        });
        rows.chain(kills).map(|line| line.to_string() + "\n").collect()
    }
}

fn kills_row(kills: &Kills) -> Vec<String> {
    let ms = |value: Option<f64>| cell(value, |value| format!("{value:.1}"));
    let gap = kills.gap_ms();
    vec![
        kills.which.name().to_owned(),
        kills.view.name().to_owned(),
        kills.rounds.to_string(),
        ms(gap.as_ref().map(|gap| gap.p50)),
        ms(gap.as_ref().map(|gap| gap.max)),
        ms(kills.silence_ms().map(|of| of.p50)),
        ms(kills.slowest_ms().map(|of| of.p50)),
        kills.failed.to_string(),
        kills.puts.to_string(),
        kills.late.to_string(),
    ]
}

fn percentiles(of: Percentiles) -> Value {
    json!({ "p50": of.p50, "p90": of.p90, "p99": of.p99, "max": of.max })
}

fn cell<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), text)
}

impl Setting {
    fn line(&self) -> String {
        let known = |load: Option<f64>| cell(load, |load| format!("{load:.2}"));
        let idle = self
            .idle
            .iter()
            .map(|(which, percent)| format!(", {} idle {percent:.1} % of a core", which.name()));
        format!(
            "{MEMBERS} members, {VALUE_BYTES} B values, stretches of {} s; {} cores, load {} before and {} after{}; data on {}; commit {}",
            self.seconds,
            self.cores,
            known(self.load_before),
            known(self.load_after),
            idle.collect::<String>(),
            self.file_system.as_deref().unwrap_or("?"),
            self.commit,
        )
    }

    fn json(&self) -> Value {
        let idle = self
            .idle
            .iter()
            .map(|(which, percent)| (which.name().to_owned(), json!(percent)));
        json!({
            "seconds": self.seconds,
            "cores": self.cores,
            "load": { "before": self.load_before, "after": self.load_after },
            "idle_percent": idle.collect::<serde_json::Map<String, Value>>(),
            "file_system": self.file_system,
            "commit": self.commit,
            "at_unix_ms": self.at_unix_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::View;
    use crate::plan::Op;

    fn report() -> Report {
        let row = |op, which, rate: f64| Row {
            cell: Cell { op, clients: 64 },
            which,
            figures: Figures {
                rate: Some(rate),
                p50_ms: Some(1.234),
                p99_ms: Some(10.0),
                p999_ms: Some(20.5),
                servers_us: Some(263.4),
                client_us: Some(50.0),
                ..Figures::default()
            },
        };
        let mut alone = row(Op::Get, Which::Quorate, 9.0);
        alone.figures = Figures {
            failed: 2,
            first_failure: Some("Unavailable: gone".to_owned()),
            ..Figures::default()
        };
        Report {
            setting: Setting {
                seconds: 5.0,
                cores: 2,
                load_before: Some(0.5),
                file_system: Some("ext4".to_owned()),
                commit: "abc".to_owned(),
                idle: vec![(Which::Quorate, 1.04)],
                ..Setting::default()
            },
            rows: vec![
                row(Op::Put, Which::Etcd, 5_000.0),
                row(Op::Put, Which::Quorate, 10_400.0),
                alone,
            ],
            kills: vec![Kills {
                rounds: 2,
                gaps_ns: vec![20_000_000, 9_000_000],
                puts: 900,
                ..Kills::new(Which::Quorate, View::Follower)
            }],
        }
    }

    #[test]
    fn a_table() {
        let want = "\
calls (watch: events) per second, their times in ms, processor time of the 3 servers and of the client for each
op   clients  system   per s  ratio   p50    p99  p99.9  cpu us  own us  failed
put       64  etcd      5000      -  1.23  10.00  20.50     263      50       0
put       64  quorate  10400  2.08x  1.23  10.00  20.50     263      50       0
get       64  quorate      -      -     -      -      -       -       -       2

the leader killed under 1,000 puts per second: gap from the kill to the first answer, ms; medians of the longest
silence and of the slowest put of each round
system   client    rounds  gap p50  gap max  silence  slowest  failed  puts  late
quorate  follower       2      9.0     20.0        -        -       0   900     0

quorate get 64: the first failure: Unavailable: gone

3 members, 256 B values, stretches of 5 s; 2 cores, load 0.50 before and - after, quorate idle 1.0 % of a core; data on ext4; commit abc";
        assert_eq!(report().table(), want);
    }

    #[test]
    fn lines() {
        let lines = report().json_lines();
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            (&lines[1]["per_s"], &lines[1]["system"]),
            (&json!(10_400.0), &json!("quorate"))
        );
        assert_eq!(lines[2]["per_s"], Value::Null);
        assert_eq!(lines[3]["gap_ms"]["max"], json!(20.0));
        assert_eq!(lines[0]["setting"]["commit"], json!("abc"));
    }
}
