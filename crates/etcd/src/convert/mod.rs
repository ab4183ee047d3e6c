//! etcd's messages to and from the machine's words. Pure.
//!
//! Promises: a message that is no request is [`Invalid`], found by etcd's checks in etcd's order, so that a request with
//! two faults is refused for the same one; nothing else is read out of it. Numbers that mean nothing (a negative limit, an
//! unknown compare) mean what etcd takes them for. Left out on purpose: whatever depends on the state; that is a refusal of
//! the machine.

pub(crate) mod answer;
pub(crate) mod auth;
mod compare;
pub(crate) mod lease;
pub(crate) mod maintenance;
pub(crate) mod member;
mod overlap;
pub(crate) mod request;

/// A message that is no request. Nothing was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// A key is empty.
    KeyMissing,
    /// A value beside the wish to keep the present one.
    ValueProvided,
    /// A lease beside the wish to keep the present one.
    LeaseProvided,
    /// An order or a target of an order that there is not.
    SortOption,
    /// A transaction of too many operations, or nested too deep.
    TooManyOps,
    /// A transaction might write a key twice.
    DuplicateKey,
    /// An operation of a transaction is none.
    OpMissing,
    /// More bytes than a write may have.
    TooLarge,
    /// Only what is forgotten anyway.
    Compacted,
    /// A lease that would live for too long.
    TtlTooLarge,
    /// No URL, or one that is none.
    MemberUrls,
    /// A release that is none.
    DowngradeFormat,
    /// A release to which there is no way back; none has one.
    DowngradeTarget,
}

/// A request that does not fit the group as it is, or that nobody carries out here. Nothing was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declined {
    /// No member has this id.
    MemberNotFound,
    /// It votes already.
    MemberNotLearner,
    /// A member has this peer URL.
    PeerUrlTaken,
    /// No replica has joined from this peer URL.
    MemberNotJoined,
    /// A member's addresses do not change.
    AddressFixed,
    /// Only the leader does this.
    NotLeader,
    /// Whoever is to lead cannot.
    BadTransferee,
    /// Whoever is to lead did not come to lead in time.
    TransferTooLong,
    /// Nobody leads, so nobody knows what a snapshot has to include.
    NoSnapshot,
    /// Nothing was begun that could be taken back.
    NoDowngrade,
    /// Clients raise no alarms.
    AlarmsNotRaised,
    /// An action that there is not.
    UnknownMethod,
}

/// etcd's messages have signed numbers where there are none below zero.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Where etcd takes every number below one for "none".
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
