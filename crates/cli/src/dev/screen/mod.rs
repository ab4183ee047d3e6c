//! The screen: a state in, lines out. Pure.
//!
//! Promises: at most as many lines, of at most as many columns, as asked for; with five replicas everything fits 80x24.
//! Left out on purpose: colours and cursors; see [`super::terminal`].

mod line;
mod table;

use super::event::{Stage, Tone};
use super::moment::Moment;
use super::state::{News, State};
use super::words::{clock, count, short};

pub(super) use line::Line;

/// Writes that are not acknowledged for this long are a sign of something.
const QUIET_MS: u128 = 300;
/// Names of steps where there is little room. The last step tells most, so it must not be cut.
const BRIEF: [(&str, &str); 6] = [
    ("detected", "det."),
    ("witnessed", "wit."),
    ("candidate", "cand."),
    ("elected", "elect."),
    ("first_commit", "commit"),
    ("acknowledged", "ack"),
];
const KEYS: &str = "1-5 select  k kill  K leader  s stop  c cont  t term  r start  l lead  q quit";

/// The whole screen.
pub(super) fn screen(state: &State, width: usize, height: usize) -> Vec<Line> {
    let mut lines = head(state);
    lines.push(seeds(state, width));
    lines.push(Line::default());
    lines.extend(table::table(state, width, true));
    lines.extend(selected(state));
    lines.push(warnings(state));
    lines.extend(load(state));
    lines.push(Line::default());
    lines.extend(failover(state, width));
    lines.push(Line::default());
    lines.truncate(height.saturating_sub(1));
    let room = height.saturating_sub(lines.len() + 1);
    let skip = state.news.len().saturating_sub(room);
    let told: Vec<Line> = state
        .news
        .iter()
        .skip(skip)
        .map(|news| news_line(state, news))
        .collect();
    let empty = room - told.len();
    lines.extend(told);
    lines.extend(std::iter::repeat_n(Line::default(), empty));
    if height > 0 {
        lines.push(Line::of(Tone::Dim, KEYS));
    }
    lines.into_iter().map(|line| line.cut(width)).collect()
}

/// Everything that stands still in the screen, for those who print lines.
pub(super) fn report(state: &State, width: usize) -> Vec<Line> {
    let mut lines = head(state);
    lines.extend(table::table(state, width, false));
    lines.extend(load(state));
    lines.extend(failover(state, usize::MAX));
    lines.extend(Some(warnings(state)).filter(|line| line.width() > 0));
    lines
}

/// A line of news with the time since the start, in seconds.
pub(super) fn news_line(state: &State, news: &News) -> Line {
    let since = news.at.since(state.setting.began).as_secs_f64();
    Line::of(Tone::Dim, format!("{since:8.3}  ")).then(news.tone, &news.text)
}

fn head(state: &State) -> Vec<Line> {
    let setting = &state.setting;
    let up = clock(state.now.since(setting.began));
    let what = match state.replicas.len() {
        0 => String::new(),
        1 => "  1 replica".to_owned(),
        replicas => format!("  {replicas} replicas"),
    };
    let title = Line::of(Tone::Bold, "quorate dev")
        .then(
            Tone::Plain,
            format!("{what}  profile {}  up {up}  ", setting.profile),
        )
        .then(Tone::Dim, &setting.directory);
    vec![title, leader(state)]
}

fn leader(state: &State) -> Line {
    match (&state.stage, state.leader, state.leaderless) {
        (Stage::Stopping, ..) => Line::of(Tone::Warn, "stopping"),
        (Stage::Starting(what), ..) => Line::of(Tone::Warn, format!("starting: {what}")),
        (Stage::Running, Some((leader, since)), _) => {
            let time = clock(state.now.since(since));
            // Clients believe in it until they hear of another.
            let answers = state.answers(leader.node);
            let (tone, silent) = if answers {
                (Tone::Good, "")
            } else {
                (Tone::Warn, " does not answer")
            };
            Line::of(tone, format!("leader {}{silent}", state.name(leader.node))).then(
                Tone::Plain,
                format!(
                    "  term {}  for {time}  failovers {}",
                    leader.term, state.failovers
                ),
            )
        }
        (Stage::Running, None, since) => {
            let since: Moment = since.unwrap_or(state.setting.began);
            Line::of(
                Tone::Bad,
                format!("nobody leads for {}", short(state.now.since(since))),
            )
        }
    }
}

/// As many seeds as fit whole: a client needs one.
fn seeds(state: &State, width: usize) -> Line {
    let mut text = String::new();
    for replica in &state.replicas {
        let next = &replica.place.client_address;
        if "seeds ".len() + text.len() + next.len() + 1 > width {
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(next);
    }
    Line::of(Tone::Dim, "seeds ").then(Tone::Plain, text)
}

fn selected(state: &State) -> Option<Line> {
    let place = &state.replicas.get(state.selected)?.place;
    let text = format!(
        "    {}: http://{}  log {}",
        place.name, place.http_address, place.log
    );
    Some(Line::of(Tone::Dim, text))
}

/// What the replicas warn of, in one line; empty when all is well.
fn warnings(state: &State) -> Line {
    let running = state
        .replicas
        .iter()
        .filter_map(|replica| Some((replica, replica.fresh(state.now)?)));
    let warned = running.flat_map(|(replica, status)| {
        let name = &replica.place.name;
        status.warnings.iter().map(move |text| format!("{name}: {text}"))
    });
    let warned: Vec<String> = warned.collect();
    match warned.as_slice() {
        [] => Line::default(),
        warned => Line::of(Tone::Warn, format!("    ! {}", warned.join("; "))),
    }
}

fn load(state: &State) -> Vec<Line> {
    let counts = state.workers.counts();
    let unwell = |number: usize, tone| if number > 0 { tone } else { Tone::Plain };
    let workers = Line::of(Tone::Dim, "SESSIONS ")
        .then(Tone::Good, format!("Ready {}", counts.ready))
        .then(Tone::Plain, format!(" of {}", state.workers.len()))
        .then(
            unwell(counts.jeopardy, Tone::Warn),
            format!("  Jeopardy {}", counts.jeopardy),
        )
        .then(
            unwell(counts.fenced, Tone::Bad),
            format!("  Fenced {}", counts.fenced),
        )
        .then(Tone::Plain, format!("  Connecting {}", counts.connecting))
        .then(Tone::Dim, format!("  (fenced so far {})", state.workers.fenced));
    let load = &state.load;
    let quiet = load.last_acknowledged.map(|last| state.now.since(last));
    let quiet_tone = quiet
        .filter(|quiet| quiet.as_millis() > QUIET_MS)
        .map_or(Tone::Plain, |_| Tone::Bad);
    let quiet = quiet.map_or_else(String::new, |quiet| format!("  last {} ago", short(quiet)));
    let failed = |number: u64| if number > 0 { Tone::Bad } else { Tone::Plain };
    let writes = Line::of(Tone::Dim, "WRITES   ")
        .then(Tone::Plain, format!("acknowledged {}", count(load.acknowledged)))
        .then(failed(load.failed), format!("  failed {}", count(load.failed)))
        .then(
            Tone::Plain,
            format!("  waiting {}  {:.0}/s", load.waiting(), load.rate(state.now)),
        )
        .then(quiet_tone, quiet);
    let reads = Line::of(Tone::Dim, "READS    ")
        .then(Tone::Plain, format!("answered {}", count(load.reads)))
        .then(
            failed(load.reads_failed),
            format!("  failed {}", count(load.reads_failed)),
        );
    vec![workers, writes, reads]
}

/// Three lines, whether there was one or not, so that nothing jumps. A story that does not fit goes on in the last line.
fn failover(state: &State, width: usize) -> Vec<Line> {
    let heading = Line::of(Tone::Dim, "LAST FAILOVER ");
    let Some(failover) = &state.failover else {
        let none = heading.then(Tone::Dim, "none yet: kill the leader (K) and watch");
        return vec![none, Line::default(), Line::default()];
    };
    let ago = short(state.now.since(failover.seen));
    let (from, to) = (state.name(failover.from), state.name(failover.to.node));
    let took = failover
        .account
        .as_ref()
        .map(|account| format!(", election {}", short(account.took)));
    let what = format!(
        "{from} -> {to}  term {}  {}{}  {ago} ago",
        failover.to.term,
        failover.reason(),
        took.unwrap_or_default()
    );
    let fenced = format!("; sessions lost {}", failover.fenced);
    let waited = Line::of(Tone::Bold, format!("  {}", failover.waited())).then(Tone::Plain, fenced);
    let steps = Line::of(Tone::Plain, format!("  {}", failover.steps()));
    vec![heading.then(Tone::Plain, what), waited, briefly(steps, width)]
}

fn briefly(steps: Line, width: usize) -> Line {
    if steps.width() <= width {
        return steps;
    }
    let mut text = steps.plain();
    for (long, brief) in BRIEF {
        text = text.replace(long, brief);
    }
    Line::of(Tone::Plain, text)
}

#[cfg(test)]
mod tests;
