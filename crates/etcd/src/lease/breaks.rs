//! Connections that break at once are no deaths of clients. Pure: moments in, decisions out.
//!
//! Promises: connections that break within [`TOGETHER`] of the first one are judged together; if they are more than half of
//! those that kept leases here, and at least [`BURST_MIN`], then something between the clients and this replica died (a proxy, a
//! switch, a firewall's table), and none of their leases is an orphan. Breaks and silences are judged apart. Left out on purpose:
//! bursts at several replicas, each of which sees only a few. A proxy that carries many clients in one connection is one client
//! here: behind such a proxy the grace should stay off.

use std::time::Duration;

/// What "at once" is.
pub(super) const TOGETHER: Duration = Duration::from_millis(100);
/// Fewer than this are no burst.
const BURST_MIN: usize = 4;

/// A connection that kept leases and is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) connection: u64,
    pub(super) host: u64,
    pub(super) at: Duration,
    /// Bound to it alone.
    pub(super) leases: Vec<i64>,
}

/// Those that are judged together next. At most as many as there are connections.
#[derive(Debug, Default)]
pub(super) struct Breaks {
    /// How many kept leases before the first broke.
    keepers: usize,
    broken: Vec<Broken>,
}

impl Breaks {
    /// One more; `keepers` are left.
    pub(super) fn add(&mut self, broken: Broken, keepers: usize) {
        if self.broken.is_empty() {
            self.keepers = keepers + 1;
        }
        self.broken.push(broken);
    }

    /// When they are judged.
    pub(super) fn due(&self) -> Option<Duration> {
        Some(self.broken.first()?.at + TOGETHER)
    }

    /// Takes those that are due, and whether they are a burst.
    pub(super) fn take(&mut self, now: Duration) -> Option<(Vec<Broken>, bool)> {
        self.due().filter(|due| *due <= now)?;
        let broken = std::mem::take(&mut self.broken);
        let is_burst = broken.len() >= BURST_MIN && broken.len() * 2 > self.keepers;
        Some((broken, is_burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn half_of_all_and_four_are_a_burst() {
        // Keepers before, and when connections break.
        let cases: &[(&str, usize, &[u64], &[(usize, bool)])] = &[
            ("the only one", 1, &[0], &[(1, false)]),
            ("all three", 3, &[0, 0, 0], &[(3, false)]),
            ("all four", 4, &[0, 10, 20, 100], &[(4, true)]),
            ("four of seven", 7, &[0, 0, 0, 0], &[(4, true)]),
            ("four of eight", 8, &[0, 0, 0, 0], &[(4, false)]),
            ("a hundred of a thousand", 1_000, &[0; 100], &[(100, false)]),
            ("one after the other", 4, &[0, 101, 202, 303], &[(1, false); 4]),
            (
                "three and then more",
                10,
                &[0, 50, 100, 150, 150, 150, 150],
                &[(3, false), (4, true)],
            ),
        ];
        for (name, before, moments, want) in cases {
            let (mut breaks, mut judged) = (Breaks::default(), Vec::new());
            let mut take = |breaks: &mut Breaks, now| {
                if let Some((broken, is_burst)) = breaks.take(now) {
                    judged.push((broken.len(), is_burst));
                }
            };
            for (number, moment) in (1..).zip(*moments) {
                // A break in the very moment in which others are judged is one of them.
                if breaks.due().is_some_and(|due| due < ms(*moment)) {
                    let due = breaks.due().expect("asked before");
                    take(&mut breaks, due);
                }
                let broken = Broken {
                    connection: number,
                    host: 0,
                    at: ms(*moment),
                    leases: vec![1],
                };
                let left = before - usize::try_from(number).expect("few");
                breaks.add(broken, left);
            }
            take(&mut breaks, ms(1_000));
            assert_eq!(judged, *want, "{name}");
            assert_eq!(breaks.due(), None, "{name}");
        }
    }
}
