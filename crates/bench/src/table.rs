//! A run as a table for people.

use std::fmt::Write;

use crate::pauses::PAUSE_MS;
use crate::percentile::Percentiles;
use crate::report::{Outcome, RESTART, Report, Setting};

const HEAD: [&str; 12] = [
    "system", "fault", "rounds", "p50", "p90", "p99", "max", "failed", "lost", "doubled", "writes", "late",
];

impl Report {
    /// Gaps, phases, ratios, and what they belong to.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let rows: Vec<Vec<String>> = self.results.iter().map(row).collect();
        let _ = writeln!(text, "gap in ms, as the client saw it");
        text += &aligned(&HEAD.map(str::to_owned), &rows);
        self.calm(&mut text);
        self.phases(&mut text);
        let ratios = self.ratios();
        if !ratios.is_empty() {
            let _ = writeln!(text, "\nmedian gap, times quorate's");
            let rows = ratios
                .into_iter()
                .map(|(system, fault, ratio)| vec![system, fault, format!("{ratio:.1}x")]);
            text += &aligned(
                &["system", "fault", "ratio"].map(str::to_owned),
                &rows.collect::<Vec<_>>(),
            );
        }
        self.remarks(&mut text);
        let _ = writeln!(text, "\n{}", setting(&self.setting));
        text
    }

    /// The rounds in which the machine itself did not stand still, where there were others.
    fn calm(&self, text: &mut String) {
        let paused = |result: &&Outcome| result.calm_rounds < result.rounds;
        let rows: Vec<Vec<String>> = self.results.iter().filter(paused).map(calm_row).collect();
        if rows.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "\nwithout the rounds in which the machine itself stood still for {PAUSE_MS} ms"
        );
        text.push_str(&aligned(
            &HEAD[..7].iter().map(|&head| head.to_owned()).collect::<Vec<_>>(),
            &rows,
        ));
    }

    fn phases(&self, text: &mut String) {
        for result in self.results.iter().filter(|result| !result.phases_ms.is_empty()) {
            let _ = writeln!(
                text,
                "\n{} {}: ms from the fault to each step",
                result.system, result.fault
            );
            let rows = result.phases_ms.iter().map(|(name, of)| {
                let mut row = vec![name.clone()];
                row.extend(four(Some(of)));
                row
            });
            text.push_str(&aligned(
                &["step", "p50", "p90", "p99", "max"].map(str::to_owned),
                &rows.collect::<Vec<_>>(),
            ));
        }
    }

    /// What should not have happened, and what weakens the figures.
    fn remarks(&self, text: &mut String) {
        let mut remark = |line: String| {
            let _ = writeln!(text, "\n{line}");
        };
        for result in &self.results {
            let (system, fault) = (&result.system, &result.fault);
            if let Some(why) = &result.first_failure {
                remark(format!("{system} {fault}: the first failed call: {why}"));
            }
            if result.unrecovered > 0 {
                remark(format!(
                    "{system} {fault}: after {} faults nobody answered any more",
                    result.unrecovered
                ));
            }
            if result.unrest > 0 {
                remark(format!(
                    "{system} {fault}: {} rounds cost more than one term",
                    result.unrest
                ));
            }
            if result.late_sends > 0 {
                let (late, writes, latest) = (result.late_sends, result.writes, result.latest_send_ms);
                remark(format!(
                    "{system} {fault}: {late} of {writes} writes left more than 1 ms late, the latest {latest:.1} ms"
                ));
            }
        }
        if self
            .setting
            .file_system
            .as_deref()
            .is_some_and(crate::surroundings::is_memory)
        {
            remark("the data lies in memory, where fsync costs nothing; take --dir on a disk".to_owned());
        }
        if let Some(why) = &self.aborted {
            remark(format!("the run ended before its time: {why}"));
        }
    }
}

fn row(result: &Outcome) -> Vec<String> {
    let mut row = vec![
        result.system.clone(),
        result.fault.clone(),
        result.rounds.to_string(),
    ];
    row.extend(four(result.gap_ms.as_ref()));
    let counts = [
        result.failed_calls,
        result.lost,
        result.doubled,
        result.writes,
        result.late_sends,
    ];
    if result.fault == RESTART {
        row.extend(counts.map(|_| "-".to_owned()));
    } else {
        row.extend(counts.map(|count| count.to_string()));
    }
    row
}

fn calm_row(result: &Outcome) -> Vec<String> {
    let mut row = vec![
        result.system.clone(),
        result.fault.clone(),
        result.calm_rounds.to_string(),
    ];
    row.extend(four(result.calm_gap_ms.as_ref()));
    row
}

fn four(of: Option<&Percentiles>) -> [String; 4] {
    match of {
        Some(of) => [of.p50, of.p90, of.p99, of.max].map(|ms| format!("{ms:.1}")),
        None => std::array::from_fn(|_| "-".to_owned()),
    }
}

fn setting(setting: &Setting) -> String {
    let known = |load: Option<f64>| load.map_or_else(|| "?".to_owned(), |load| format!("{load:.2}"));
    let mut text = format!(
        "{} members, profile {}, {} objects, {} MB of ballast; {} cores, load {} before and {} after, data on {}; commit {}",
        setting.replicas,
        setting.profile.as_deref().unwrap_or("default"),
        setting.objects,
        setting.ballast_mb,
        setting.cores,
        known(setting.load_before),
        known(setting.load_after),
        setting.file_system.as_deref().unwrap_or("?"),
        setting.commit,
    );
    text.shrink_to_fit();
    text
}

/// Columns as wide as their widest cell; the first two to the left, figures to the right.
#[must_use]
pub fn aligned(head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    let all = || std::iter::once(head).chain(rows.iter().map(Vec::as_slice));
    let width = |column: usize| {
        all()
            .filter_map(|row| row.get(column))
            .map(String::len)
            .max()
            .unwrap_or(0)
    };
    let is_text = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .any(|cell| cell.starts_with(|first: char| first.is_alphabetic()))
    };
    for row in all() {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if is_text(column) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let line = cells.collect::<Vec<String>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::outcome;

    #[test]
    fn a_table() {
        let mut etcd = outcome("etcd-10-50", "kill", &[90]);
        etcd.late_sends = 0;
        let mut ours = outcome("quorate", "kill", &[8, 9, 40]);
        ours.late_sends = 0;
        ours.calm_rounds = 2;
        ours.calm_gap_ms = Percentiles::of_ns(&[8_000_000, 9_000_000]);
        let setting = Setting {
            replicas: 3,
            objects: 1_000,
            commit: "abc".to_owned(),
            load_before: Some(0.5),
            cores: 2,
            file_system: Some("tmpfs".to_owned()),
            ..Setting::default()
        };
        let results = vec![ours, etcd, Outcome::of_restarts("quorate", vec![700_000_000])];
        let report = Report {
            results,
            setting,
            aborted: Some("the disk is full".to_owned()),
        };
        let want = "\
gap in ms, as the client saw it
system      fault    rounds    p50    p90    p99    max  failed  lost  doubled  writes  late
quorate     kill          3    9.0   40.0   40.0   40.0       0     0        0    3000     0
etcd-10-50  kill          1   90.0   90.0   90.0   90.0       0     0        0    1000     0
quorate     restart       1  700.0  700.0  700.0  700.0       -     -        -       -     -

without the rounds in which the machine itself stood still for 10 ms
system   fault  rounds  p50  p90  p99  max
quorate  kill        2  8.0  9.0  9.0  9.0

quorate kill: ms from the fault to each step
step      p50   p90   p99   max
detected  1.8   8.0   8.0   8.0
client    9.0  40.0  40.0  40.0

median gap, times quorate's
system      fault  ratio
etcd-10-50  kill   10.0x

the data lies in memory, where fsync costs nothing; take --dir on a disk

the run ended before its time: the disk is full

3 members, profile default, 1000 objects, 0 MB of ballast; 2 cores, load 0.50 before and ? after, data on tmpfs; commit abc
";
        assert_eq!(report.table(), want);
    }
}
