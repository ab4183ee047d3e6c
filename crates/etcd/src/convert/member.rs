//! Members as etcd's clients name and see them, and what their wishes come to here.
//!
//! In etcd a member is added first and started then. Here a replica that is started joins by itself, as a learner; so adding
//! a member confirms that it has joined, and lets it vote if that is asked for. Promises: what is taken over has etcd's
//! outcome (afterwards a member with this URL is a learner, or votes); what has no meaning here is [`Declined`], by etcd's
//! name where etcd has one. Left out on purpose: whether a change is safe, which the leader decides.

use std::collections::BTreeSet;

use quorate_api::etcdserverpb as pb;
use quorate_replica::MemberChange;
use quorate_types::{Member, NodeId, check_address};

use super::{Declined, Invalid};

/// How URLs of members begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Ports without TLS.
    Http,
    /// Ports that speak TLS.
    Https,
}

impl Scheme {
    fn url(self, address: &str) -> String {
        match self {
            Self::Http => format!("http://{address}"),
            Self::Https => format!("https://{address}"),
        }
    }
}

/// What adding a member comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Addition {
    /// It has joined, which is all that was asked for.
    Joined(NodeId),
    /// It has joined and is to vote.
    Promote(NodeId),
}

/// The members as etcd shows them.
pub(crate) fn listed(roster: &[(Member, bool)], scheme: Scheme) -> Vec<pb::Member> {
    let listed = |(member, votes): &(Member, bool)| pb::Member {
        id: member.node.0,
        name: member.name.to_string(),
        peer_ur_ls: vec![scheme.url(&member.peer_address)],
        client_ur_ls: vec![scheme.url(&member.client_address)],
        is_learner: !votes,
    };
    roster.iter().map(listed).collect()
}

/// The `host:port`s of URLs, of which there must be one. Whether a URL says `http` or `https` makes no difference: the ports
/// of a cluster speak one or the other.
pub(crate) fn addresses(urls: &[String]) -> Result<BTreeSet<String>, Invalid> {
    if urls.is_empty() {
        return Err(Invalid::MemberUrls);
    }
    urls.iter().map(|url| address(url)).collect()
}

fn address(url: &str) -> Result<String, Invalid> {
    let (scheme, address) = url.trim().split_once("://").ok_or(Invalid::MemberUrls)?;
    // Sockets of the file system are good URLs to etcd. No member is there.
    let is_known = ["http", "https", "unix", "unixs"].contains(&scheme);
    match is_known && check_address(address).is_ok() {
        true => Ok(address.to_owned()),
        false => Err(Invalid::MemberUrls),
    }
}

/// Adding a member.
pub(crate) fn addition(
    addresses: &BTreeSet<String>,
    is_learner: bool,
    roster: &[(Member, bool)],
) -> Result<Addition, Declined> {
    let named = roster
        .iter()
        .filter(|(member, _)| addresses.contains(&member.peer_address));
    let named: Vec<_> = named.map(|(member, votes)| (member.node, *votes)).collect();
    match named[..] {
        [] => Err(Declined::MemberNotJoined),
        // A member has one address here.
        [(node, false)] if addresses.len() == 1 => Ok(match is_learner {
            true => Addition::Joined(node),
            false => Addition::Promote(node),
        }),
        _ => Err(Declined::PeerUrlTaken),
    }
}

/// Removing a member.
pub(crate) fn removal(id: u64, roster: &[(Member, bool)]) -> Result<MemberChange, Declined> {
    let (member, _) = find(id, roster)?;
    Ok(MemberChange {
        remove: BTreeSet::from([member.node]),
        force: true,
        ..MemberChange::default()
    })
}

/// Letting a learner vote.
pub(crate) fn promotion(id: u64, roster: &[(Member, bool)]) -> Result<MemberChange, Declined> {
    match find(id, roster)? {
        (_, true) => Err(Declined::MemberNotLearner),
        (member, false) => Ok(promotes(member.node)),
    }
}

/// The change that lets `node` vote.
pub(crate) fn promotes(node: NodeId) -> MemberChange {
    MemberChange {
        promote: BTreeSet::from([node]),
        force: true,
        ..MemberChange::default()
    }
}

/// The node id, when it is a member's.
pub(crate) fn known(id: u64, roster: &[(Member, bool)]) -> Result<NodeId, Declined> {
    find(id, roster).map(|(member, _)| member.node)
}

/// Giving a member other URLs: well, when they are those that it has.
pub(crate) fn update(
    node: NodeId,
    addresses: &BTreeSet<String>,
    roster: &[(Member, bool)],
) -> Result<(), Declined> {
    let mut named = roster
        .iter()
        .map(|(member, _)| member)
        .filter(|member| addresses.contains(&member.peer_address));
    match (named.next(), named.next()) {
        (None, _) => Err(Declined::AddressFixed),
        (Some(member), None) if member.node == node => match addresses.len() {
            1 => Ok(()),
            _ => Err(Declined::AddressFixed),
        },
        _ => Err(Declined::PeerUrlTaken),
    }
}

fn find(id: u64, roster: &[(Member, bool)]) -> Result<&(Member, bool), Declined> {
    let mut members = roster.iter();
    members
        .find(|(member, _)| member.node == NodeId(id))
        .ok_or(Declined::MemberNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::roster;

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| (*url).to_owned()).collect()
    }

    #[test]
    fn a_member_is_shown_with_its_urls() {
        let shown = |scheme| listed(&roster(&[1], &[4]), scheme);
        let member = |id, name: &str, peer: &str, client: &str, is_learner| pb::Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: urls(&[peer]),
            client_ur_ls: urls(&[client]),
            is_learner,
        };
        assert_eq!(
            shown(Scheme::Http),
            [
                member(1, "r1", "http://r1:2380", "http://r1:2379", false),
                member(4, "r4", "http://r4:2380", "http://r4:2379", true),
            ]
        );
        assert_eq!(
            shown(Scheme::Https)[0],
            member(1, "r1", "https://r1:2380", "https://r1:2379", false)
        );
    }

    #[test]
    fn urls_are_checked_as_etcd_checks_them() {
        let long = format!("http://{}:1", "a".repeat(300));
        let long = [long.as_str()];
        let bad = Err(Invalid::MemberUrls);
        let cases: Vec<(&[&str], Result<&[&str], Invalid>)> = vec![
            (&["http://a:2380"], Ok(&["a:2380"])),
            (&["https://10.0.0.1:2380"], Ok(&["10.0.0.1:2380"])),
            (&["  http://[::1]:2380 "], Ok(&["[::1]:2380"])),
            (&["unix://a:1"], Ok(&["a:1"])),
            (&["http://b:1", "http://a:1", "https://a:1"], Ok(&["a:1", "b:1"])),
            (&[], bad),
            (&[""], bad),
            (&["a:2380"], bad),
            (&["://a:2380"], bad),
            (&["ftp://a:2380"], bad),
            (&["http://a"], bad),
            (&["http://a:port"], bad),
            (&["http://a:2380/"], bad),
            (&["http://a:2380/path"], bad),
            (&["http://"], bad),
            (&["http://a:1", "nothing"], bad),
            (&long, bad),
        ];
        for (given, want) in cases {
            let want = want.map(|addresses| addresses.iter().map(|one| (*one).to_owned()).collect());
            assert_eq!(addresses(&urls(given)), want, "{given:?}");
        }
    }

    #[test]
    fn what_adding_comes_to() {
        let roster = roster(&[1, 2, 3], &[4, 5]);
        let (joined, promote) = (
            |id| Ok(Addition::Joined(NodeId(id))),
            |id| Ok(Addition::Promote(NodeId(id))),
        );
        let cases: Vec<(&str, &[&str], bool, Result<Addition, Declined>)> = vec![
            ("a learner that has joined", &["http://r4:2380"], true, joined(4)),
            ("one that is to vote", &["https://r5:2380"], false, promote(5)),
            (
                "nobody",
                &["http://r9:2380"],
                true,
                Err(Declined::MemberNotJoined),
            ),
            (
                "its port for clients",
                &["http://r4:2379"],
                false,
                Err(Declined::MemberNotJoined),
            ),
            ("a voter", &["http://r1:2380"], true, Err(Declined::PeerUrlTaken)),
            (
                "a voter, to vote",
                &["http://r1:2380"],
                false,
                Err(Declined::PeerUrlTaken),
            ),
            (
                "two learners",
                &["http://r4:2380", "http://r5:2380"],
                true,
                Err(Declined::PeerUrlTaken),
            ),
            (
                "a learner at two places",
                &["http://r4:2380", "http://r9:2380"],
                true,
                Err(Declined::PeerUrlTaken),
            ),
        ];
        for (case, given, is_learner, want) in cases {
            let addresses = addresses(&urls(given)).expect("good URLs");
            assert_eq!(addition(&addresses, is_learner, &roster), want, "{case}");
        }
    }

    #[test]
    fn who_is_removed_and_who_is_promoted() {
        let roster = roster(&[1, 2, 3], &[4]);
        let change = |promote: &[u64], remove: &[u64]| MemberChange {
            promote: promote.iter().copied().map(NodeId).collect(),
            remove: remove.iter().copied().map(NodeId).collect(),
            force: true,
        };
        let not_found = || Err(Declined::MemberNotFound);
        let cases = [
            (1, Ok(change(&[], &[1])), Err(Declined::MemberNotLearner)),
            (4, Ok(change(&[], &[4])), Ok(change(&[4], &[]))),
            (0, not_found(), not_found()),
            (9, not_found(), not_found()),
            (u64::MAX, not_found(), not_found()),
        ];
        for (id, removed, promoted) in cases {
            assert_eq!(removal(id, &roster), removed, "{id}");
            assert_eq!(promotion(id, &roster), promoted, "{id}");
        }
    }

    #[test]
    fn a_member_keeps_its_address() {
        let roster = roster(&[1, 2, 3], &[4]);
        let cases: Vec<(&str, &[&str], Result<(), Declined>)> = vec![
            ("as it is", &["http://r2:2380"], Ok(())),
            ("as it is, twice", &["http://r2:2380", "https://r2:2380"], Ok(())),
            ("another one", &["http://r9:2380"], Err(Declined::AddressFixed)),
            (
                "one more",
                &["http://r2:2380", "http://r9:2380"],
                Err(Declined::AddressFixed),
            ),
            (
                "another member's",
                &["http://r1:2380"],
                Err(Declined::PeerUrlTaken),
            ),
            (
                "another member's beside its own",
                &["http://r2:2380", "http://r4:2380"],
                Err(Declined::PeerUrlTaken),
            ),
        ];
        for (case, given, want) in cases {
            let addresses = addresses(&urls(given)).expect("good URLs");
            assert_eq!(update(NodeId(2), &addresses, &roster), want, "{case}");
        }
        assert_eq!(known(4, &roster), Ok(NodeId(4)));
        assert_eq!(known(5, &roster), Err(Declined::MemberNotFound));
    }
}
