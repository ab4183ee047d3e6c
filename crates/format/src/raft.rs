//! openraft's small values, in our own shapes: vote, log position, membership.
//!
//! Promises: the bytes hang on the private mirror structs here and on nothing else, so that neither a new openraft nor a
//! new field in `quorate-types` can change what is on disk unnoticed. Decoding is bounded by [`SMALL_BYTES_MAX`]. Left out
//! on purpose: openraft itself; whoever uses it converts.
//!
//! Layout: bincode 1.3 with fixed-width little-endian integers. bincode writes no field names, hence: fields are never
//! reordered, and a change of shape is a new format byte.

use std::collections::BTreeSet;

use bincode::Options;
use bytes::{BufMut, Bytes, BytesMut};
use quorate_types::{Incarnation, Index, Member, MemberName, NodeId, Position, Term};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::envelope::{OpenError, VERSION, body};

/// Longest small value, bytes, without its envelope; far above a membership of any size that Raft is good for.
pub const SMALL_BYTES_MAX: u64 = 65_536;

/// A replica's vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vote {
    /// The term it voted in.
    pub term: Term,
    /// Whom it voted for.
    pub node: NodeId,
    /// A quorum granted it: that node leads the term.
    pub committed: bool,
}

/// Who takes part: voters and learners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The sets of voters; two while the membership changes.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// Every participant, voters and learners, each once.
    pub members: Vec<Member>,
}

/// A small value that is written down.
pub trait Small: Sized {
    /// The value in its envelope.
    ///
    /// # Panics
    /// When it is longer than [`SMALL_BYTES_MAX`], which no membership of replicas reaches.
    fn seal(&self) -> Bytes;

    /// The value of an envelope.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the bytes.
    fn open(bytes: &[u8]) -> Result<Self, OpenError>;
}

impl Small for Vote {
    fn seal(&self) -> Bytes {
        seal(&WireVote {
            term: self.term.0,
            node: self.node.0,
            committed: self.committed,
        })
    }

    fn open(bytes: &[u8]) -> Result<Self, OpenError> {
        let wire: WireVote = open(bytes)?;
        Ok(Self {
            term: Term(wire.term),
            node: NodeId(wire.node),
            committed: wire.committed,
        })
    }
}

impl Small for Position {
    fn seal(&self) -> Bytes {
        seal(&WirePosition {
            term: self.term.0,
            leader: self.leader.0,
            index: self.index.0,
        })
    }

    fn open(bytes: &[u8]) -> Result<Self, OpenError> {
        let wire: WirePosition = open(bytes)?;
        Ok(Self {
            term: Term(wire.term),
            leader: NodeId(wire.leader),
            index: Index(wire.index),
        })
    }
}

impl Small for Membership {
    fn seal(&self) -> Bytes {
        let ids = |config: &BTreeSet<NodeId>| config.iter().map(|node| node.0).collect();
        seal(&WireMembership {
            configs: self.configs.iter().map(ids).collect(),
            members: self.members.iter().map(WireMember::from).collect(),
        })
    }

    fn open(bytes: &[u8]) -> Result<Self, OpenError> {
        let wire: WireMembership = open(bytes)?;
        let nodes = |config: BTreeSet<u64>| config.into_iter().map(NodeId).collect();
        let members: Result<_, _> = wire.members.into_iter().map(WireMember::into_member).collect();
        Ok(Self {
            configs: wire.configs.into_iter().map(nodes).collect(),
            members: members?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct WireVote {
    term: u64,
    node: u64,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
struct WirePosition {
    term: u64,
    leader: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct WireMembership {
    configs: Vec<BTreeSet<u64>>,
    members: Vec<WireMember>,
}

#[derive(Serialize, Deserialize)]
struct WireMember {
    node: u64,
    name: String,
    incarnation: [u8; 16],
    peer_address: String,
    liveness_address: String,
    client_address: String,
}

impl From<&Member> for WireMember {
    fn from(member: &Member) -> Self {
        Self {
            node: member.node.0,
            name: member.name.as_str().to_owned(),
            incarnation: member.incarnation.to_bytes(),
            peer_address: member.peer_address.clone(),
            liveness_address: member.liveness_address.clone(),
            client_address: member.client_address.clone(),
        }
    }
}

impl WireMember {
    fn into_member(self) -> Result<Member, OpenError> {
        // openraft puts the default node where it was told an id and nothing else; that one has no name.
        let name = if self.name.is_empty() {
            MemberName::default()
        } else {
            MemberName::new(self.name).map_err(|error| OpenError::Invalid(Box::new(error)))?
        };
        Ok(Member {
            node: NodeId(self.node),
            name,
            incarnation: Incarnation(u128::from_be_bytes(self.incarnation)),
            peer_address: self.peer_address,
            liveness_address: self.liveness_address,
            client_address: self.client_address,
        })
    }
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(SMALL_BYTES_MAX)
}

fn seal(value: &impl Serialize) -> Bytes {
    let body = options()
        .serialize(value)
        .expect("a small value is shorter than its limit");
    let mut out = BytesMut::with_capacity(1 + body.len());
    out.put_u8(VERSION);
    out.put_slice(&body);
    out.freeze()
}

fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, OpenError> {
    options().deserialize(body(bytes)?).map_err(OpenError::Value)
}
