//! What a broken network does to packets, as arguments of the packet filter. Pure.

use std::net::Ipv4Addr;

/// Somewhere in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A replica's host, counted from 0.
    Host(usize),
    /// Where the test and its clients run.
    Test,
}

impl Place {
    pub(super) fn address(self) -> Ipv4Addr {
        match self {
            // More hosts than a group ever has wrap around and fail at once as addresses that are taken.
            Self::Host(host) => Ipv4Addr::new(10, 77, 0, u8::try_from(host % 200 + 1).unwrap_or(u8::MAX)),
            Self::Test => Ipv4Addr::new(10, 77, 0, 254),
        }
    }
}

/// Which TCP packets are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// All packets of any kind.
    All,
    /// To this port of the receiver.
    To(u16),
    /// From this port of the sender: the answers to [`Ports::To`].
    From(u16),
}

/// One rule, which holds where the packets arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    from: Place,
    to: Place,
    ports: Ports,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Lose,
    Refuse,
}

impl Rule {
    /// Packets are lost without a word.
    #[must_use]
    pub fn lose(from: Place, to: Place, ports: Ports) -> Self {
        Self {
            from,
            to,
            ports,
            verdict: Verdict::Lose,
        }
    }

    /// Packets are answered with a reset, so that connections break and new ones are refused, as if nobody listened.
    #[must_use]
    pub fn refuse(from: Place, to: Place, ports: Ports) -> Self {
        Self {
            from,
            to,
            ports,
            verdict: Verdict::Refuse,
        }
    }

    pub(super) fn holds_at(&self) -> Place {
        self.to
    }

    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["-A", "INPUT"].map(str::to_owned).into();
        arguments.extend(["-s".to_owned(), self.from.address().to_string()]);
        match (self.ports, self.verdict) {
            (Ports::All, Verdict::Lose) => {}
            // A reset exists in TCP only.
            (Ports::All, Verdict::Refuse) => arguments.extend(["-p", "tcp"].map(str::to_owned)),
            (Ports::To(port), _) => {
                arguments.extend(["-p", "tcp", "--dport", &port.to_string()].map(str::to_owned))
            }
            (Ports::From(port), _) => {
                arguments.extend(["-p", "tcp", "--sport", &port.to_string()].map(str::to_owned));
            }
        }
        let verdict: &[&str] = match self.verdict {
            Verdict::Lose => &["-j", "DROP"],
            Verdict::Refuse => &["-j", "REJECT", "--reject-with", "tcp-reset"],
        };
        arguments.extend(verdict.iter().map(|word| (*word).to_owned()));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_packet_filter_is_told() {
        let (a, b, test) = (Place::Host(0), Place::Host(1), Place::Test);
        let cases = [
            (Rule::lose(a, b, Ports::All), b, "-A INPUT -s 10.77.0.1 -j DROP"),
            (
                Rule::lose(test, a, Ports::To(2379)),
                a,
                "-A INPUT -s 10.77.0.254 -p tcp --dport 2379 -j DROP",
            ),
            (
                Rule::lose(b, a, Ports::From(2382)),
                a,
                "-A INPUT -s 10.77.0.2 -p tcp --sport 2382 -j DROP",
            ),
            (
                Rule::refuse(b, a, Ports::To(2382)),
                a,
                "-A INPUT -s 10.77.0.2 -p tcp --dport 2382 -j REJECT --reject-with tcp-reset",
            ),
            (
                Rule::refuse(b, a, Ports::All),
                a,
                "-A INPUT -s 10.77.0.2 -p tcp -j REJECT --reject-with tcp-reset",
            ),
        ];
        for (rule, at, want) in cases {
            assert_eq!((rule.holds_at(), rule.arguments().join(" ").as_str()), (at, want));
        }
    }
}
