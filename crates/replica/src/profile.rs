//! Timeouts as one named choice, stretched when the machine is slower than the profile assumes.
//!
//! openraft waits `election_timeout_max` (its lease) plus a draw from `[min, max]` before a follower stands, so a silent
//! death costs about twice the timeout. The lease cannot be chosen apart from the timeout. Rule of thumb of Raft's
//! authors and of etcd: a timeout is at least ten times a round trip and a flush, or a busy moment looks like a death.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Where the replicas stand towards each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One rack or one machine: round trips below a millisecond, quick disks.
    Lan,
    /// Availability zones of one region: round trips of a few milliseconds. The default.
    #[default]
    Zone,
    /// Regions: round trips of tens of milliseconds.
    Region,
}

/// The timeouts of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Shortest wait for a sign of the leader beyond the lease.
    pub election_min: Duration,
    /// Longest such wait, and the lease.
    pub election_max: Duration,
}

/// A timeout is at least this many times what a heartbeat's way takes (a round trip and a flush).
const MARGIN: u32 = 10;

impl Profile {
    /// All of them, for help texts.
    pub const ALL: [Self; 3] = [Self::Lan, Self::Zone, Self::Region];

    /// The profile's own timeouts.
    #[must_use]
    pub fn timing(self) -> Timing {
        let (heartbeat, min, max) = match self {
            Self::Lan => (20, 80, 150),
            Self::Zone => (50, 250, 500),
            Self::Region => (200, 1_000, 2_000),
        };
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(min),
            election_max: Duration::from_millis(max),
        }
    }
}

impl Timing {
    /// Stretched by a whole factor, when `way` (a round trip and a flush, 99th percentile) asks for more room.
    #[must_use]
    pub fn stretched_for(self, way: Duration) -> Self {
        let factor = self.stretch(way);
        Self {
            heartbeat: self.heartbeat * factor,
            election_min: self.election_min * factor,
            election_max: self.election_max * factor,
        }
    }

    /// The factor by which these timeouts would have to grow for `way`: 1 when they fit. At most 20, because a way that
    /// needs more is a fault to mend and not a network to adapt to.
    #[must_use]
    pub fn stretch(&self, way: Duration) -> u32 {
        let needed = way.saturating_mul(MARGIN).as_micros();
        let have = self.election_min.as_micros().max(1);
        u32::try_from(needed.div_ceil(have))
            .unwrap_or(u32::MAX)
            .clamp(1, 20)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lan => "lan",
            Self::Zone => "zone",
            Self::Region => "region",
        })
    }
}

/// A text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no profile; choose lan, zone or region")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.to_string() == text)
            .ok_or_else(|| UnknownProfile(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("LAN".parse::<Profile>().is_err());
    }

    #[test]
    fn timeouts_stretch_only_when_the_way_is_long() {
        let ms = Duration::from_millis;
        let cases = [
            ("a quick way", Profile::Zone, ms(1), 1),
            ("exactly ten times", Profile::Zone, ms(25), 1),
            ("a slow disk", Profile::Zone, ms(40), 2),
            ("a slow disk on lan", Profile::Lan, ms(40), 5),
            ("a dead disk is not a network", Profile::Lan, ms(60_000), 20),
            ("nothing measured", Profile::Lan, ms(0), 1),
        ];
        for (name, profile, way, factor) in cases {
            assert_eq!(profile.timing().stretch(way), factor, "{name}");
            let stretched = profile.timing().stretched_for(way);
            assert_eq!(
                stretched.election_max,
                profile.timing().election_max * factor,
                "{name}"
            );
        }
    }

    #[test]
    fn every_profile_keeps_the_proportions_that_openraft_wants() {
        for profile in Profile::ALL {
            let timing = profile.timing();
            assert!(
                timing.heartbeat * 3 <= timing.election_min,
                "{profile}: three heartbeats before a timeout"
            );
            assert!(timing.election_min < timing.election_max, "{profile}");
        }
    }
}
