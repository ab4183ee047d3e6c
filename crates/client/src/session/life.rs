//! The course of a session as its worker sees it: a pure state machine.
//!
//! Promises: [`Life::confirmed_until`] is a moment before which the cluster does not let the session expire for want
//! of keep-alives. It counts from when an answered keep-alive was *sent*, because the cluster's clock for it started
//! later than that. Left out on purpose: the stream, and waiting.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_types::limits::{SESSION_TTL_MS_MAX, SESSION_TTL_MS_MIN};
use tokio::time::Instant;

/// What a worker may do now. See [`crate::Session`] for the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Not opened yet: there is no epoch, so there is no work.
    Connecting,
    /// The cluster confirms the session.
    Ready,
    /// Nobody confirms the session at the moment.
    Jeopardy {
        /// When the last stream was lost.
        since: Instant,
    },
    /// The session is over and its work is or will be with others.
    Fenced,
    /// The session was closed, or is no longer kept by this client.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Life {
    state: SessionState,
    ttl: Duration,
    /// When the keep-alives were sent that are not answered yet, oldest first.
    unanswered: VecDeque<Instant>,
    sent: Instant,
    confirmed: Instant,
}

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: SessionState::Connecting,
            ttl: Duration::ZERO,
            unanswered: VecDeque::new(),
            sent: now,
            confirmed: now,
        }
    }

    pub(super) fn state(&self) -> SessionState {
        self.state
    }

    /// The session was opened or resumed; the request for it was sent at `sent`.
    pub(super) fn opened(&mut self, sent: Instant, ttl: Duration) {
        if self.is_over() {
            return;
        }
        self.state = SessionState::Ready;
        self.ttl = sane(ttl);
        self.unanswered.clear();
        self.sent = sent;
        self.confirmed = sent;
    }

    /// A keep-alive leaves.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = now;
        self.unanswered.push_back(now);
    }

    /// A keep-alive was answered: the oldest, since answers come in order.
    pub(super) fn kept(&mut self, ttl: Duration) {
        if let Some(sent) = self.unanswered.pop_front() {
            self.confirmed = sent;
            self.ttl = sane(ttl);
        }
    }

    /// The stream is gone.
    pub(super) fn lost(&mut self, now: Instant) {
        self.unanswered.clear();
        if self.state == SessionState::Ready {
            self.state = SessionState::Jeopardy { since: now };
        }
    }

    /// The cluster says that the session is over.
    pub(super) fn fenced(&mut self) {
        if !self.is_over() {
            self.state = SessionState::Fenced;
        }
    }

    /// The worker ended it.
    pub(super) fn closed(&mut self) {
        if !self.is_over() {
            self.state = SessionState::Closed;
        }
    }

    /// When the next keep-alive is due.
    pub(super) fn due(&self) -> Instant {
        self.sent + self.ttl / 3
    }

    /// When a stream that does not answer keep-alives is given up; `None` while all are answered.
    pub(super) fn overdue(&self) -> Option<Instant> {
        self.unanswered.front().map(|sent| *sent + self.ttl * 2 / 3)
    }

    pub(super) fn confirmed_until(&self) -> Instant {
        self.confirmed + self.ttl
    }

    fn is_over(&self) -> bool {
        matches!(self.state, SessionState::Fenced | SessionState::Closed)
    }
}

/// A ttl as the cluster may grant it: a wrong one must neither make keep-alives spin nor overflow the clock.
fn sane(ttl: Duration) -> Duration {
    ttl.clamp(
        Duration::from_millis(SESSION_TTL_MS_MIN),
        Duration::from_millis(SESSION_TTL_MS_MAX),
    )
}

/// How long to wait before the session is resumed, so that all workers do not come at once: up to a tenth of a second
/// at first, less for a short ttl, more with each failure; `fraction` in `[0, 1)`.
pub(super) fn resume_delay(failures: u32, ttl: Duration, fraction: f64) -> Duration {
    let first = Duration::from_millis(100).min(ttl / 30);
    let grown = first.saturating_mul(1 << failures.min(10));
    grown.min(Duration::from_secs(1)).min(ttl / 6).mul_f64(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(9);

    #[derive(Clone, Copy)]
    enum Step {
        Opened,
        Sent,
        Kept,
        Lost,
        Fenced,
        Closed,
    }

    #[test]
    fn states_and_what_is_confirmed() {
        use SessionState as S;
        use Step::{Closed, Fenced, Kept, Lost, Opened, Sent};
        let start = Instant::now();
        let second = |n: u64| start + Duration::from_secs(n);
        // Steps at seconds; the state, and the second up to which the session is confirmed.
        type Case = (&'static str, &'static [(u64, Step)], S, u64);
        let cases: &[Case] = &[
            ("before it is opened", &[], S::Connecting, 0),
            (
                "opening confirms from when it was sent",
                &[(1, Opened)],
                S::Ready,
                10,
            ),
            (
                "sending confirms nothing",
                &[(1, Opened), (4, Sent)],
                S::Ready,
                10,
            ),
            (
                "the answer confirms from the sending",
                &[(1, Opened), (4, Sent), (6, Kept)],
                S::Ready,
                13,
            ),
            (
                "one answer confirms the oldest of two",
                &[(1, Opened), (4, Sent), (7, Sent), (8, Kept)],
                S::Ready,
                13,
            ),
            (
                "an answer too many confirms nothing",
                &[(1, Opened), (6, Kept)],
                S::Ready,
                10,
            ),
            (
                "a lost stream",
                &[(1, Opened), (4, Sent), (5, Lost), (6, Lost)],
                S::Jeopardy { since: second(5) },
                10,
            ),
            ("resumed", &[(1, Opened), (5, Lost), (7, Opened)], S::Ready, 16),
            (
                "an answer of the old stream's does not count for the new",
                &[(1, Opened), (4, Sent), (5, Lost), (7, Opened), (8, Kept)],
                S::Ready,
                16,
            ),
            ("lost before it was opened", &[(1, Lost)], S::Connecting, 0),
            (
                "fenced is the end",
                &[(1, Opened), (2, Fenced), (3, Opened), (4, Lost), (5, Closed)],
                S::Fenced,
                10,
            ),
            (
                "closed is the end",
                &[(1, Opened), (2, Closed), (3, Opened), (4, Fenced)],
                S::Closed,
                10,
            ),
        ];
        for (name, steps, state, confirmed) in cases {
            let mut life = Life::new(start);
            for (at, step) in *steps {
                match step {
                    Opened => life.opened(second(*at), TTL),
                    Sent => life.sent(second(*at)),
                    Kept => life.kept(TTL),
                    Lost => life.lost(second(*at)),
                    Fenced => life.fenced(),
                    Closed => life.closed(),
                }
            }
            assert_eq!(life.state(), *state, "{name}");
            assert_eq!(life.confirmed_until(), second(*confirmed), "{name}");
        }
    }

    #[test]
    fn keep_alives_every_third_and_patience_for_two() {
        let start = Instant::now();
        let mut life = Life::new(start);
        life.opened(start, TTL);
        assert_eq!((life.due(), life.overdue()), (start + TTL / 3, None));
        life.sent(start + TTL / 3);
        life.sent(start + TTL * 2 / 3);
        assert_eq!((life.due(), life.overdue()), (start + TTL, Some(start + TTL)));
        life.kept(TTL);
        assert_eq!(life.overdue(), Some(start + TTL * 4 / 3));
    }

    #[test]
    fn a_hostile_ttl_neither_spins_nor_overflows() {
        let start = Instant::now();
        for (granted, want) in [
            (Duration::ZERO, Duration::from_secs(1)),
            (Duration::MAX, Duration::from_secs(86_400)),
        ] {
            let mut life = Life::new(start);
            life.opened(start, granted);
            assert_eq!(
                (life.due(), life.confirmed_until()),
                (start + want / 3, start + want)
            );
            life.sent(start);
            life.kept(granted);
            assert_eq!(life.confirmed_until(), start + want);
        }
    }

    #[test]
    fn resume_delays_in_milliseconds() {
        let millis = |failures, ttl_ms, fraction| {
            resume_delay(failures, Duration::from_millis(ttl_ms), fraction).as_millis()
        };
        assert_eq!(
            [
                millis(0, 1_000, 1.0),
                millis(0, 10_000, 1.0),
                millis(0, 10_000, 0.5)
            ],
            [33, 100, 50]
        );
        assert_eq!(
            [
                millis(3, 1_000, 1.0),
                millis(3, 60_000, 1.0),
                millis(u32::MAX, 60_000, 1.0)
            ],
            [166, 800, 1000]
        );
        assert_eq!(millis(9, 60_000, 0.0), 0);
    }
}
