//! One replica as it is known from outside: its process, and what it last said of itself. Pure.

use std::time::Duration;

use quorate_client::v1;

use super::super::event::Life;
use super::super::moment::Moment;

/// A status older than this says nothing about now.
const FRESH: Duration = Duration::from_millis(1_500);

/// What is fixed about a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Place {
    /// Its id in the group.
    pub(in super::super) node: u64,
    /// Its name.
    pub(in super::super) name: String,
    /// `host:port` for clients.
    pub(in super::super) client_address: String,
    /// `host:port` of its status page.
    pub(in super::super) http_address: String,
    /// Its log file.
    pub(in super::super) log: String,
}

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Replica {
    /// What is fixed.
    pub(in super::super) place: Place,
    /// What its process does.
    pub(in super::super) life: Life,
    /// Its process id while there is one.
    pub(in super::super) pid: Option<u32>,
    /// Its last answer and when it came.
    pub(in super::super) status: Option<(Moment, Box<v1::StatusResponse>)>,
    /// It was told that this life of it takes part.
    pub(super) announced: bool,
    /// How many lives it has had.
    pub(super) lives: u64,
}

impl Replica {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            life: Life::Unborn,
            pid: None,
            status: None,
            announced: false,
            lives: 0,
        }
    }

    /// Its last answer, while that is news.
    pub(in super::super) fn fresh(&self, now: Moment) -> Option<&v1::StatusResponse> {
        let (at, status) = self.status.as_ref()?;
        (now.since(*at) < FRESH && matches!(self.life, Life::Running)).then_some(status)
    }

    /// Its role in a word.
    pub(in super::super) fn role(&self, now: Moment) -> &'static str {
        match (&self.life, self.fresh(now)) {
            (Life::Unborn | Life::Ended(_), _) => "-",
            (_, Some(status)) => role_word(status.role()),
            (Life::Paused, None) => "silent",
            (Life::Running, None) => "no answer",
        }
    }

    /// Its process in a few words.
    pub(in super::super) fn process(&self) -> String {
        match &self.life {
            Life::Unborn => "not started".to_owned(),
            Life::Running => self
                .pid
                .map_or_else(|| "runs".to_owned(), |pid| format!("pid {pid}")),
            Life::Paused => "paused".to_owned(),
            Life::Ended(how) => ended_word(how),
        }
    }
}

/// The word for a role.
pub(super) fn role_word(role: v1::Role) -> &'static str {
    match role {
        v1::Role::Unspecified => "unknown",
        v1::Role::Leader => "leader",
        v1::Role::Follower => "follower",
        v1::Role::Candidate => "candidate",
        v1::Role::Learner => "learner",
        v1::Role::Forming => "forming",
        v1::Role::Stopped => "fault",
    }
}

/// `signal: 9 (SIGKILL)` and `exit status: 0`, shorter.
fn ended_word(how: &str) -> String {
    let number = |rest: &str| rest.split_whitespace().next().unwrap_or_default().to_owned();
    if let Some(rest) = how.strip_prefix("signal: ") {
        format!("signal {}", number(rest))
    } else if let Some(rest) = how.strip_prefix("exit status: ") {
        format!("exit {}", number(rest))
    } else {
        "ended".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_in_a_few_words() {
        let place = Place {
            node: 1,
            name: "a".to_owned(),
            client_address: String::new(),
            http_address: String::new(),
            log: String::new(),
        };
        let ended = |how: &str| Life::Ended(how.to_owned());
        let cases = [
            (Life::Unborn, None, "not started", "-"),
            (Life::Running, Some(77), "pid 77", "no answer"),
            (Life::Paused, Some(77), "paused", "silent"),
            (ended("signal: 9 (SIGKILL)"), None, "signal 9", "-"),
            (ended("exit status: 0"), None, "exit 0", "-"),
            (ended("its end was not seen"), None, "ended", "-"),
        ];
        for (life, pid, process, role) in cases {
            let replica = Replica {
                life,
                pid,
                ..Replica::new(place.clone())
            };
            assert_eq!(
                (replica.process().as_str(), replica.role(Moment(0))),
                (process, role)
            );
        }
    }
}
