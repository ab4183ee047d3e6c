//! What one liveness link proves about the runs of one peer. Pure: inputs in, changes out.
//!
//! Promises: a run is called dead only after its established link broke and then its own address and port either
//! refused a connection or greeted with another run of the same node. A refusal alone (the peer was never met), a
//! refusal at another address (the name moved), and every kind of timeout prove nothing. The hazard that remains is a
//! process that lives while its listener is closed; see the module above for the rules that exclude it.

use std::net::SocketAddr;

use quorate_types::BootId;

/// The state of the link to one peer, and the last of its runs that is known to be dead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    link: Link,
    dead: Option<BootId>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Link {
    /// No run of the peer was met, or the one that was met is dead.
    #[default]
    None,
    /// Greeted by this run at this address.
    Up(BootId, SocketAddr),
    /// The link to this run broke; what that means is not known yet.
    Broken(BootId, SocketAddr),
}

/// Something that happened on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// A run greeted us at this address.
    Hello(BootId, SocketAddr),
    /// The established link ended: end of file, reset, or no echo.
    Broke,
    /// This address refused a connection.
    Refused(SocketAddr),
}

/// What changed by a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// This run is gone for certain.
    Died(BootId),
    /// This run was called dead and answered: the evidence is withdrawn.
    Returned(BootId),
}

impl Evidence {
    /// Takes in a sign.
    pub(crate) fn observe(&mut self, sign: Sign) -> Option<Change> {
        match sign {
            Sign::Hello(boot, address) => self.greeted(boot, address),
            Sign::Broke => {
                if let Link::Up(boot, address) = self.link {
                    self.link = Link::Broken(boot, address);
                }
                None
            }
            Sign::Refused(at) => match self.link {
                Link::Broken(boot, address) if address == at => {
                    self.link = Link::None;
                    self.dead = Some(boot);
                    Some(Change::Died(boot))
                }
                _ => None,
            },
        }
    }

    fn greeted(&mut self, boot: BootId, address: SocketAddr) -> Option<Change> {
        let before = std::mem::replace(&mut self.link, Link::Up(boot, address));
        if self.dead == Some(boot) {
            self.dead = None;
            return Some(Change::Returned(boot));
        }
        match before {
            // Only the same place counts: a greeting from elsewhere may be a second pod while the first lives on.
            Link::Broken(old, at) | Link::Up(old, at) if old != boot && at == address => {
                self.dead = Some(old);
                Some(Change::Died(old))
            }
            _ => None,
        }
    }

    /// This run is dead for certain.
    pub(crate) fn is_dead(&self, boot: BootId) -> bool {
        self.dead == Some(boot)
    }

    /// The run that the link is up to.
    pub(crate) fn linked(&self) -> Option<BootId> {
        match self.link {
            Link::Up(boot, _) => Some(boot),
            Link::None | Link::Broken(..) => None,
        }
    }

    /// Where to dial first: the place of the run whose link broke, because only that place can prove something.
    pub(crate) fn dial_first(&self) -> Option<SocketAddr> {
        match self.link {
            Link::Broken(_, address) => Some(address),
            Link::None | Link::Up(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Change::{Died, Returned};
    use super::Sign::{Broke, Hello, Refused};
    use super::*;

    const A: BootId = BootId(0xa);
    const B: BootId = BootId(0xb);

    fn here() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 2382))
    }

    fn elsewhere() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 9], 2382))
    }

    #[test]
    fn what_each_history_proves() {
        let (here, elsewhere) = (here(), elsewhere());
        let cases: &[(&str, &[Sign], &[Option<Change>], Option<BootId>)] = &[
            (
                "a refusal before any meeting proves nothing",
                &[Refused(here)],
                &[None],
                None,
            ),
            (
                "a broken link alone proves nothing",
                &[Hello(A, here), Broke],
                &[None, None],
                None,
            ),
            (
                "broken, then refused at the same place: dead",
                &[Hello(A, here), Broke, Refused(here)],
                &[None, None, Some(Died(A))],
                Some(A),
            ),
            (
                "refused at another address: the name moved, the run may live",
                &[Hello(A, here), Broke, Refused(elsewhere)],
                &[None, None, None],
                None,
            ),
            (
                "a refusal while the link stands proves nothing",
                &[Hello(A, here), Refused(here)],
                &[None, None],
                None,
            ),
            (
                "the same run greets again: a hiccup",
                &[Hello(A, here), Broke, Hello(A, here)],
                &[None, None, None],
                None,
            ),
            (
                "another run greets at the same place: the old one is dead",
                &[Hello(A, here), Broke, Hello(B, here)],
                &[None, None, Some(Died(A))],
                Some(A),
            ),
            (
                "another run greets elsewhere: the old one may live on",
                &[Hello(A, here), Broke, Hello(B, elsewhere)],
                &[None, None, None],
                None,
            ),
            (
                "a run that was called dead answers: withdrawn",
                &[Hello(A, here), Broke, Refused(here), Hello(A, here)],
                &[None, None, Some(Died(A)), Some(Returned(A))],
                None,
            ),
            (
                "a death is told once",
                &[
                    Hello(A, here),
                    Broke,
                    Refused(here),
                    Refused(here),
                    Hello(B, here),
                ],
                &[None, None, Some(Died(A)), None, None],
                Some(A),
            ),
            (
                "the successor dies, too",
                &[
                    Hello(A, here),
                    Broke,
                    Refused(here),
                    Hello(B, here),
                    Broke,
                    Refused(here),
                ],
                &[None, None, Some(Died(A)), None, None, Some(Died(B))],
                Some(B),
            ),
        ];
        for (name, signs, want, dead) in cases {
            let mut evidence = Evidence::default();
            let got: Vec<_> = signs.iter().map(|sign| evidence.observe(*sign)).collect();
            assert_eq!(&got, want, "{name}");
            assert_eq!(evidence.dead, *dead, "{name}");
        }
    }
}
