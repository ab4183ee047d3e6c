//! One change of leader: why, in which steps, and how long clients waited. Pure.
//!
//! Promises: steps are told from the moment of the user's own deed when there was one, otherwise from the first step;
//! what is not known yet is left out and not guessed.

use std::time::Duration;

use quorate_client::v1;

use super::super::event::{Deed, Leading};
use super::super::moment::Moment;
use super::super::words::short;
use super::load::{Gap, Load};

/// Acknowledgements are looked at this long after the new leader is known: the gap has ended by then.
const SETTLES_AFTER: Duration = Duration::from_millis(400);
/// What happens to acknowledgements later than this is not of this change.
const GAP_ENDS_WITHIN: Duration = Duration::from_millis(50);
/// The new leader's own account is waited for this long.
const ACCOUNT_WITHIN: Duration = Duration::from_secs(3);
/// Without any acknowledgement, it is told this long after.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A gap that ended this long before the new leader was known, and nobody's deed explains, is another matter.
const LOOK_BACK: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Clone)]
pub(in super::super) struct Failover {
    /// Who led before.
    pub(in super::super) from: u64,
    /// Who leads since.
    pub(in super::super) to: Leading,
    /// When clients knew the new leader.
    pub(in super::super) seen: Moment,
    /// What the user did to cause it, and when.
    pub(in super::super) cause: Option<(Moment, Deed)>,
    /// The new leader's account: its reason and its steps.
    pub(in super::super) account: Option<Account>,
    /// How long clients waited, once it has settled.
    pub(in super::super) gap: Option<Gap>,
    /// When it had settled: nothing changes any more.
    pub(in super::super) settled: Option<Moment>,
    /// Workers' sessions that were fenced, before it.
    pub(super) fenced_before: u64,
    /// Workers' sessions that were fenced meanwhile.
    pub(in super::super) fenced: u64,
    /// Gaps count from here.
    since: Moment,
}

/// What the new leader says of its election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Account {
    /// Why there was an election.
    pub(in super::super) reason: v1::LeaderChangeReason,
    /// From its first sign of the end of the old leader.
    pub(in super::super) took: Duration,
    /// Steps and their moments.
    pub(in super::super) phases: Vec<(String, Moment)>,
}

impl Account {
    /// Reads the last change of leader from a status.
    pub(super) fn read(change: &v1::LeaderChange) -> Self {
        let phase = |phase: &v1::Phase| (phase.name.clone(), Moment(phase.monotonic_ns));
        Self {
            reason: change.reason(),
            took: Duration::from_micros(change.took_us),
            phases: change.phases.iter().map(phase).collect(),
        }
    }
}

impl Failover {
    /// `earlier` is when the failover before this one had settled.
    pub(super) fn new(
        from: u64,
        to: Leading,
        seen: Moment,
        cause: Option<(Moment, Deed)>,
        earlier: Option<Moment>,
    ) -> Self {
        let since = cause.map_or(seen.before(LOOK_BACK), |(at, _)| at);
        Self {
            from,
            to,
            seen,
            cause,
            account: None,
            gap: None,
            settled: None,
            fenced_before: 0,
            fenced: 0,
            since: since.max(earlier.unwrap_or_default()),
        }
    }

    /// Looks whether all is known by now; true when it has just settled.
    pub(super) fn settle(&mut self, now: Moment, load: &Load) -> bool {
        if self.settled.is_some() {
            return false;
        }
        let after = now.since(self.seen);
        let acknowledged = load.last_acknowledged.is_some_and(|last| last > self.seen);
        let told = self.account.is_some() || after >= ACCOUNT_WITHIN;
        if (acknowledged && told && after >= SETTLES_AFTER) || after >= SILENT_AFTER {
            self.close(now, load);
            return true;
        }
        false
    }

    /// Takes what is known now.
    pub(super) fn close(&mut self, now: Moment, load: &Load) {
        self.gap = load.longest(self.since, self.seen.after(GAP_ENDS_WITHIN));
        self.settled = Some(now);
    }

    /// Its reason in a word.
    pub(in super::super) fn reason(&self) -> &'static str {
        use v1::LeaderChangeReason as Reason;
        match self.account.as_ref().map(|account| account.reason) {
            None | Some(Reason::Unspecified) => "reason unknown",
            Some(Reason::Formation) => "formation",
            Some(Reason::Crash) => "crash",
            Some(Reason::Timeout) => "timeout",
            Some(Reason::Transfer) => "transfer",
            Some(Reason::StalledDisk) => "stalled disk",
        }
    }

    /// How long clients waited, in words.
    pub(in super::super) fn waited(&self) -> String {
        match (self.gap, self.settled) {
            (Some(gap), _) => format!(
                "clients waited {} between two acknowledged writes",
                short(gap.length)
            ),
            (None, None) => "counting how long clients wait".to_owned(),
            (None, Some(_)) => "no writes were acknowledged around it".to_owned(),
        }
    }

    /// Its steps in words, from the cause on; empty when nothing is known of them.
    pub(in super::super) fn steps(&self) -> String {
        let phases = self.account.iter().flat_map(|account| &account.phases);
        let mut steps: Vec<(&str, Moment)> = phases.map(|(name, at)| (name.as_str(), *at)).collect();
        if let Some(gap) = self.gap {
            steps.push(("acknowledged", gap.end));
        }
        let origin = match self.cause {
            Some((at, deed)) => Some((deed_word(deed), at)),
            None => steps.first().copied(),
        };
        let Some((first, origin)) = origin else {
            return String::new();
        };
        // A step of an attempt before the cause is not part of this failover.
        let later = steps.into_iter().filter(|(_, at)| *at > origin);
        let told: Vec<String> = later
            .map(|(name, at)| format!("{name} {}", ms(at.since(origin))))
            .collect();
        if told.is_empty() {
            String::new()
        } else {
            format!("{first} -> {} ms", told.join(", "))
        }
    }
}

/// What was done, as the origin of steps.
fn deed_word(deed: Deed) -> &'static str {
    match deed {
        Deed::Kill => "kill",
        Deed::Pause => "pause",
        Deed::Resume => "resume",
        Deed::Terminate => "stop",
        Deed::Start => "start",
        Deed::Transfer => "transfer",
    }
}

fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 99.95 {
        format!("{ms:.1}")
    } else {
        format!("{ms:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Moment {
        Moment(us * 1_000)
    }

    fn failover(cause: Option<(Moment, Deed)>) -> Failover {
        Failover::new(1, Leading { node: 2, term: 3 }, at(5_012_000), cause, None)
    }

    fn account() -> Account {
        let phases = [
            ("candidate", 4_000_000),
            ("detected", 5_001_200),
            ("elected", 5_008_000),
        ];
        Account {
            reason: v1::LeaderChangeReason::Crash,
            took: Duration::from_millis(9),
            phases: phases.map(|(name, us)| (name.to_owned(), at(us))).to_vec(),
        }
    }

    fn acknowledged(us: &[u64]) -> Load {
        let mut load = Load::default();
        for us in us {
            load.acknowledge(at(*us));
        }
        load
    }

    #[test]
    fn it_settles_when_writes_flow_and_the_leader_has_told() {
        let flowing = acknowledged(&[4_995_000, 5_013_000, 5_018_000]);
        let stuck = acknowledged(&[4_995_000]);
        let cases = [
            ("at once", &flowing, true, 5_100_000, false),
            ("a little later", &flowing, true, 5_412_000, true),
            ("the leader has not told yet", &flowing, false, 5_412_000, false),
            ("it never tells", &flowing, false, 8_012_000, true),
            ("no write is acknowledged", &stuck, true, 8_012_000, false),
            ("for too long", &stuck, true, 15_012_000, true),
        ];
        for (name, load, told, now, want) in cases {
            let mut failover = failover(Some((at(5_000_000), Deed::Kill)));
            failover.account = told.then(account);
            assert_eq!(failover.settle(at(now), load), want, "{name}");
            assert_eq!(failover.settled.is_some(), want, "{name}");
            assert!(!failover.settle(at(now), load), "{name}: it settles once");
        }
    }

    #[test]
    fn it_tells_the_gap_and_the_steps() {
        let load = acknowledged(&[4_990_000, 4_995_000, 5_013_000, 5_018_000]);
        let mut killed = failover(Some((at(5_000_000), Deed::Kill)));
        assert_eq!((killed.reason(), killed.steps().as_str()), ("reason unknown", ""));
        assert_eq!(killed.waited(), "counting how long clients wait");
        killed.account = Some(account());
        killed.close(at(6_000_000), &load);
        assert_eq!(killed.reason(), "crash");
        assert_eq!(
            killed.waited(),
            "clients waited 18.0 ms between two acknowledged writes"
        );
        assert_eq!(
            killed.steps(),
            "kill -> detected 1.2, elected 8.0, acknowledged 13.0 ms"
        );

        let mut unexplained = failover(None);
        unexplained.account = Some(Account {
            phases: account().phases[1..].to_vec(),
            ..account()
        });
        unexplained.close(at(6_000_000), &load);
        assert_eq!(
            unexplained.steps(),
            "detected -> elected 6.8, acknowledged 11.8 ms"
        );
    }

    #[test]
    fn the_gap_of_an_earlier_failover_is_not_counted_again() {
        let load = acknowledged(&[1_000_000, 4_500_000, 5_013_000]);
        let to = Leading { node: 2, term: 3 };
        let mut second = Failover::new(1, to, at(5_012_000), None, Some(at(4_900_000)));
        second.close(at(6_000_000), &load);
        assert_eq!(second.gap.map(|gap| gap.length), Some(Duration::from_millis(513)));
    }
}
