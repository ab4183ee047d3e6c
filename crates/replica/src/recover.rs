//! When the quorum is lost for good: a new cluster of one, out of whatever a surviving replica has.
//!
//! Promises: every entry of the survivor's log counts, also those that are not known to be committed, because an
//! acknowledged one may be among them; what was there is kept beside it, and a crash in the middle leaves one or the other.
//! The cluster gets another id, so that the old members are strangers: they can neither vote in it nor send it anything.
//! The directory keeps its incarnation: whoever joins reads the log from its first entry, in which the survivor is a
//! member with that one, and would turn away the same node with another. Left out on purpose: choosing the survivor with the longest log, which only an
//! operator with all directories at hand can do.
//!
//! Why that is sound: to Raft it is a change of membership that the survivor wrote as the leader of a later term. What it
//! could not do in Raft is to commit it without the others; here somebody has decided that there are no others.

use std::path::{Path, PathBuf};

use quorate_format::raft::{Membership, Small};
use quorate_host::entropy;
use quorate_store::{
    Entry, EntryKind, Identity, LogState, OfflineDirectory, OpenError, Store, StoreError, Vote,
};
use quorate_types::{ClusterId, Index, Member, MemberName, Position, Term};

use crate::backup::durable;
use crate::config::Listed;

/// A directory that can be recovered, locked.
#[derive(Debug)]
pub struct Recovery {
    directory: OfflineDirectory,
    identity: Identity,
    last: Position,
    members: Vec<Member>,
}

/// What the new cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Its id.
    pub cluster: ClusterId,
    /// Its only member.
    pub member: Member,
    /// Where what was there before is kept.
    pub kept: Option<PathBuf>,
}

/// Why nothing was recovered. Unless it says otherwise, the directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is no data, a replica runs on it, or it is damaged.
    #[error("nothing can be recovered, and nothing was changed")]
    Open(#[from] OpenError),
    /// It never was part of a cluster, or has received nothing.
    #[error(
        "{path} holds no entries: its replica has received nothing from its cluster; take another replica's directory",
        path = path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// It is another replica's.
    #[error("{path} is the directory of replica {found}, not of {wanted}; name it, or its own replica", path = path.display())]
    OtherName {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: MemberName,
        /// Whose it should have been.
        wanted: MemberName,
    },
    /// Where the replica is reached is not known.
    #[error(
        "the directory does not say at which addresses replica {name} is reached; give them as a list of one"
    )]
    NoAddress {
        /// The replica.
        name: MemberName,
    },
    /// The new data could not be put in place.
    #[error(transparent)]
    Place(OpenError),
    /// The new data could not be written.
    #[error("the recovered data cannot be written; what was there is untouched")]
    Store(#[from] StoreError),
}

impl Recovery {
    /// Reads and checks the directory of replica `name`, and keeps replicas away from it. Changes nothing. Blocks.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub fn open(data_dir: &Path, name: &MemberName) -> Result<Self, RecoverError> {
        let directory = OfflineDirectory::open(data_dir)?;
        let contents = directory.contents();
        let path = || data_dir.to_owned();
        let (Some(identity), Some(last)) = (contents.identity.clone(), contents.log.last) else {
            return Err(RecoverError::Empty { path: path() });
        };
        if identity.name != *name {
            return Err(RecoverError::OtherName {
                path: path(),
                found: identity.name,
                wanted: name.clone(),
            });
        }
        // Only to tell who the members were, and where this one is reached.
        let snapshot = contents.snapshot.as_ref();
        let known = contents.memberships.last().map(|fact| &fact.membership);
        let known = known.or(snapshot.map(|snapshot| &snapshot.meta.membership));
        let members = known.and_then(|known| Membership::open(known).ok());
        Ok(Self {
            identity,
            last,
            members: members.map(|known| known.members).unwrap_or_default(),
            directory,
        })
    }

    /// Whose directory it is, now.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The members of its cluster, as far as they are known.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where its log stands.
    #[must_use]
    pub fn log(&self) -> LogState {
        self.directory.contents().log
    }

    /// The last entry that it has.
    #[must_use]
    pub fn last(&self) -> Position {
        self.last
    }

    /// Makes the new cluster, whose only member is reached at `listed`, or else where it was reached before. Parts of it
    /// block.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn run(self, listed: Option<&Listed>) -> Result<Recovered, RecoverError> {
        let state = self.log();
        let identity = Identity {
            cluster: ClusterId(entropy::random_u128()),
            ..self.identity
        };
        let known = self.members.into_iter().find(|known| known.node == identity.node);
        let member = member(&identity, listed, known)?;
        let (vote, entry) = takeover(state.vote, self.last, &member);
        let new = self.directory.renew(&identity)?;
        let store = new.open().await?;
        let written = async {
            durable(|done| store.save_vote(vote, done)).await?;
            // For who recovers once more before a replica has run.
            store
                .save_membership(entry.position, entry.payload.clone())
                .await?;
            durable(|done| store.append(vec![entry], done)).await
        };
        let written = written.await;
        store.close().await;
        written?;
        let kept = new.finish().map_err(RecoverError::Place)?;
        Ok(Recovered {
            cluster: identity.cluster,
            member,
            kept,
        })
    }
}

/// The only member: where the operator says, or else where it was.
fn member(
    identity: &Identity,
    listed: Option<&Listed>,
    known: Option<Member>,
) -> Result<Member, RecoverError> {
    let known = known.unwrap_or_default();
    let member = match listed {
        Some(listed) => Member {
            peer_address: listed.peer_address.clone(),
            liveness_address: listed.liveness_address.clone(),
            client_address: listed.client_address.clone(),
            ..known
        },
        None if known.peer_address.is_empty() => {
            let name = identity.name.clone();
            return Err(RecoverError::NoAddress { name });
        }
        None => known,
    };
    Ok(Member {
        node: identity.node,
        name: identity.name.clone(),
        incarnation: identity.incarnation,
        ..member
    })
}

/// The vote and the entry of a leader of a later term than any that the survivor has seen.
fn takeover(vote: Option<Vote>, last: Position, member: &Member) -> (Vote, Entry) {
    let seen = vote.map_or(Term(0), |vote| vote.term).max(last.term);
    let vote = Vote {
        term: Term(seen.0 + 1),
        node: member.node,
        committed: true,
    };
    let membership = Membership {
        configs: vec![[member.node].into()],
        members: vec![member.clone()],
    };
    let entry = Entry {
        position: Position {
            term: vote.term,
            leader: member.node,
            index: Index(last.index.0 + 1),
        },
        kind: EntryKind::Membership,
        payload: membership.seal(),
    };
    (vote, entry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use quorate_store::{DiskOptions, DiskStore};
    use quorate_types::{Incarnation, NodeId};

    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: ClusterId(1),
            node: NodeId(2),
            incarnation: Incarnation(3),
            name: MemberName::new("b").expect("a good name"),
        }
    }

    fn known(address: &str) -> Member {
        Member {
            node: NodeId(2),
            incarnation: Incarnation(9),
            peer_address: address.to_owned(),
            ..Member::default()
        }
    }

    #[test]
    fn the_member_is_where_the_operator_says_or_where_it_was() {
        let listed = Listed {
            name: MemberName::new("b").expect("a good name"),
            peer_address: "new:1".to_owned(),
            liveness_address: "new:2".to_owned(),
            client_address: "new:3".to_owned(),
        };
        let cases = [
            ("as it was", None, Some(known("old:1")), Some("old:1")),
            ("moved", Some(&listed), Some(known("old:1")), Some("new:1")),
            ("told", Some(&listed), None, Some("new:1")),
            ("unknown", None, None, None),
        ];
        for (case, listed, known, want) in cases {
            let got = member(&identity(), listed, known);
            let Some(want) = want else {
                assert!(matches!(got, Err(RecoverError::NoAddress { .. })), "{case}");
                continue;
            };
            let got = got.expect(case);
            assert_eq!(got.peer_address, want, "{case}");
            assert_eq!((got.node, got.incarnation), (NodeId(2), Incarnation(3)), "{case}");
        }
    }

    #[test]
    fn the_takeover_comes_after_everything_that_was_seen() {
        let vote = |term| Vote {
            term: Term(term),
            node: NodeId(1),
            committed: false,
        };
        let last = Position {
            term: Term(5),
            leader: NodeId(3),
            index: Index(40),
        };
        for (case, seen, want) in [
            ("no vote", None, 6),
            ("an older vote", Some(vote(4)), 6),
            ("a newer vote", Some(vote(8)), 9),
        ] {
            let (vote, entry) = takeover(seen, last, &known("x"));
            assert_eq!((vote.term, vote.node), (Term(want), NodeId(2)), "{case}");
            assert!(Some(vote) > seen && entry.position > last, "{case}");
            assert_eq!(
                (entry.position.term, entry.position.index),
                (vote.term, Index(41)),
                "{case}"
            );
        }
    }

    fn at(index: u64) -> Position {
        Position {
            term: Term(2),
            leader: NodeId(1),
            index: Index(index),
        }
    }

    /// The directory of a follower of node 1 with three entries, of which one is known to be committed.
    async fn survivor(path: &Path) {
        let store = DiskStore::open(path, DiskOptions::default()).await.unwrap();
        let incarnation = store.facts().incarnation;
        let identity = Identity {
            incarnation,
            ..identity()
        };
        store.save_identity(identity).await.unwrap();
        let membership = Membership {
            configs: vec![[NodeId(1), NodeId(2)].into()],
            members: vec![known("old:1")],
        };
        store.save_membership(at(0), membership.seal()).await.unwrap();
        let entry = |index| Entry {
            position: at(index),
            kind: EntryKind::Command,
            payload: vec![7; 10].into(),
        };
        let vote = Vote {
            term: Term(4),
            node: NodeId(3),
            committed: false,
        };
        durable(|done| store.append((0..3).map(entry).collect(), done))
            .await
            .unwrap();
        store.save_committed(Some(at(0)));
        durable(|done| store.save_vote(vote, done)).await.unwrap();
        store.close().await;
    }

    fn name() -> MemberName {
        identity().name
    }

    #[tokio::test]
    async fn everything_is_there_under_another_identity_and_the_old_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        survivor(dir.path()).await;
        let recovery = Recovery::open(dir.path(), &name()).unwrap();
        assert_eq!(recovery.last(), at(2));
        assert_eq!(recovery.log().committed, Some(at(0)));
        assert_eq!(recovery.members().len(), 1);
        let incarnation = recovery.identity().incarnation;
        let recovered = recovery.run(None).await.unwrap();
        assert_ne!(recovered.cluster, ClusterId(1));
        assert_eq!(recovered.member.peer_address, "old:1");

        let store = DiskStore::open(dir.path(), DiskOptions::default()).await.unwrap();
        let identity = store.facts().identity.unwrap();
        assert_eq!(
            (identity.cluster, identity.incarnation),
            (recovered.cluster, incarnation)
        );
        assert_eq!(
            recovered.member.incarnation, incarnation,
            "as in the log's first entries"
        );
        let entries = store.read(0, 9, 1 << 20).await.unwrap();
        assert_eq!(entries.len(), 4);
        assert_eq!(
            (entries[3].kind, entries[3].position.term),
            (EntryKind::Membership, Term(5))
        );
        let membership = Membership::open(&entries[3].payload).unwrap();
        assert_eq!(membership.members, [recovered.member]);
        store.close().await;

        let kept = DiskStore::open(&recovered.kept.unwrap(), DiskOptions::default())
            .await
            .unwrap();
        assert_eq!(kept.log_state().last, Some(at(2)));
        assert_eq!(kept.facts().identity.unwrap().cluster, ClusterId(1));
        kept.close().await;
        // And once more: it is a directory as any other.
        let again = Recovery::open(dir.path(), &name()).unwrap();
        assert_eq!(again.last().index, Index(3));
        assert_ne!(again.run(None).await.unwrap().cluster, recovered.cluster);
    }

    #[tokio::test]
    async fn what_cannot_be_recovered_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let line = |path: &Path, name: &str| {
            let opened = Recovery::open(path, &MemberName::new(name).unwrap());
            crate::fault::chain(&opened.expect_err("refused"))
        };
        assert!(line(&place("none"), "b").contains("holds no data of a replica"));
        assert!(!place("none").exists(), "nothing is made");
        std::fs::create_dir(place("empty")).unwrap();
        assert!(line(&place("empty"), "b").contains("holds no data of a replica"));
        assert_eq!(std::fs::read_dir(place("empty")).unwrap().count(), 0);
        std::fs::write(place("file"), b"mine").unwrap();
        assert!(line(&place("file"), "b").contains("is not a directory"));

        let fresh = DiskStore::open(&place("fresh"), DiskOptions::default())
            .await
            .unwrap();
        assert!(line(&place("fresh"), "b").contains("is in use by process"));
        fresh.close().await;
        assert!(line(&place("fresh"), "b").contains("holds no entries"));

        survivor(&place("b")).await;
        assert!(line(&place("b"), "a").contains("is the directory of replica b, not of a"));
        let log = std::fs::read_dir(place("b").join("log"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let mut bytes = std::fs::read(log.path()).unwrap();
        bytes[100] ^= 1;
        std::fs::write(log.path(), &bytes).unwrap();
        let damaged = line(&place("b"), "b");
        assert!(
            damaged.contains("nothing was changed") && damaged.contains("the log is damaged"),
            "{damaged}"
        );
        assert_eq!(std::fs::read(log.path()).unwrap(), bytes);
        assert!(!place("b").join("next.tmp").exists());
    }
}
