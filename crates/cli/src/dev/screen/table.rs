//! The table of replicas. Pure.

use std::time::Duration;

use super::super::event::{Life, Tone};
use super::super::state::{Replica, State};
use super::super::words::clock;
use super::line::{Line, left, right};

/// Columns from which on the wide table fits.
const WIDE: usize = 116;

/// The heading and one line per replica, the selected one marked when `marks`.
pub(super) fn table(state: &State, width: usize, marks: bool) -> Vec<Line> {
    let wide = width >= WIDE;
    let mut lines = vec![heading(wide)];
    for (place, replica) in state.replicas.iter().enumerate() {
        lines.push(row(state, replica, place, marks && place == state.selected, wide));
    }
    lines
}

fn heading(wide: bool) -> Line {
    let mut text = format!(
        "    {} {} {}",
        left("REPLICA", 8),
        left("PROCESS", 11),
        left("ROLE", 9)
    );
    if wide {
        text += &format!(
            " {}{}{}{}{}{} {}{}{}",
            right("TERM", 5),
            right("LAST", 10),
            right("COMMITTED", 11),
            right("APPLIED", 10),
            right("SNAPSHOT", 10),
            right("BEHIND", 8),
            right("FLUSH p50/p99 ms", 17),
            right("UP", 8),
            right("BOOT", 5),
        );
    } else {
        text += &format!(
            "{}{}{}{} {}",
            right("LAST", 9),
            right("COMMITTED", 10),
            right("APPLIED", 9),
            right("SNAPSHOT", 9),
            right("FLUSH ms", 8),
        );
    }
    Line::of(Tone::Dim, text)
}

fn row(state: &State, replica: &Replica, place: usize, selected: bool, wide: bool) -> Line {
    let mark = if selected { '>' } else { ' ' };
    let role = replica.role(state.now);
    let tone = match (&replica.life, role) {
        (_, "leader") => Tone::Good,
        (Life::Running, "no answer" | "fault") | (Life::Ended(_), _) => Tone::Bad,
        (Life::Paused, _) => Tone::Warn,
        _ => Tone::Plain,
    };
    let name = format!("{mark} {} {}", place + 1, left(&replica.place.name, 8));
    let line = Line::of(if selected { Tone::Bold } else { Tone::Plain }, name)
        .then(Tone::Plain, format!(" {}", left(&replica.process(), 11)))
        .then(tone, format!(" {}", left(role, 9)));
    // An old answer is still a hint of where the log stood, so it is shown, but dimly.
    let Some((_, status)) = &replica.status else {
        return line;
    };
    let tone = if replica.fresh(state.now).is_some() {
        Tone::Plain
    } else {
        Tone::Dim
    };
    let number = |number: u64, width| right(&number.to_string(), width);
    let ms = |us: u64| format!("{:.1}", us as f64 / 1e3);
    if !wide {
        let cells = [
            number(status.last_log_index, 9),
            number(status.committed_index, 10),
            number(status.applied_index, 9),
            number(status.snapshot_index, 9),
            right(&format!(" {}", ms(status.flush_p50_us)), 9),
        ];
        return line.then(tone, cells.concat());
    }
    let term = status.topology.as_ref().map_or(0, |topology| topology.term);
    let farthest = state
        .replicas
        .iter()
        .filter_map(|replica| replica.status.as_ref());
    let farthest = farthest
        .map(|(_, status)| status.committed_index)
        .max()
        .unwrap_or_default();
    let cells = [
        " ".to_owned(),
        number(term, 5),
        number(status.last_log_index, 10),
        number(status.committed_index, 11),
        number(status.applied_index, 10),
        number(status.snapshot_index, 10),
        number(farthest.saturating_sub(status.applied_index), 8),
        " ".to_owned(),
        right(
            &format!("{}/{}", ms(status.flush_p50_us), ms(status.flush_p99_us)),
            17,
        ),
        right(&clock(Duration::from_millis(status.uptime_ms)), 8),
        number(status.boot_count, 5),
    ];
    line.then(tone, cells.concat())
}
