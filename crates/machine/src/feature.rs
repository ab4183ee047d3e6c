//! Feature levels: which behaviour all replicas have agreed to show.
//!
//! Replicas decide below the log, so during a rolling upgrade two binaries must decide alike. A new behaviour gets a new
//! level; a binary knows all levels up to its own, and shows the new behaviour only once the replicated level has been
//! raised, which the leader proposes when every member supports it. The level only rises: what was decided under it cannot
//! be taken back.
//!
//! Levels:
//! - 1 (2026-11-21): the catalog, sessions, ids, clients.
//! - 2 (2026-11-21): etcd's keyspace.
//! - 3 (2026-11-21): etcd's leases.
//! - 4 (2026-11-21): etcd's users and roles.

use crate::fault::Fault;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::txn::Txn;
use quorate_types::Index;

/// The level of a new cluster's first entry.
pub(crate) const FIRST: u32 = 1;

/// From here on there is etcd's keyspace.
pub(crate) const KV: u32 = 2;

/// From here on there are etcd's leases.
pub(crate) const KV_LEASES: u32 = 3;

/// From here on there are etcd's users and roles, and writes are made on behalf of somebody.
pub(crate) const KV_AUTH: u32 = 4;

/// The highest level that this binary knows.
pub const FEATURE_LEVEL_MAX: u32 = KV_AUTH;

/// Stops the replica when an entry is of a level that this binary does not know: it cannot guess what the others decide.
pub(crate) fn check_known(index: Index, needs: u32, known: u32) -> Result<(), Fault> {
    if needs > known {
        return Err(Fault::FeatureLevel { index, needs, known });
    }
    Ok(())
}

/// Raises the level. Raising it to where it stands is accepted, so that two leaders may propose the same.
pub(crate) fn raise(txn: &mut Txn<'_>, level: u32) -> Result<Reply, Refusal> {
    let has = txn.head.feature_level;
    if level < has {
        return Err(Refusal::FeatureLevel { needs: level, has });
    }
    txn.head.feature_level = level;
    Ok(Reply::FeatureLevelRaised { level })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn the_level_only_rises() {
        let cases: &[(u32, u32, bool)] = &[
            (1, 1, true),
            (1, 2, true),
            (2, 1, false),
            (3, 9, true),
            (1, 0, false),
        ];
        for &(has, level, want) in cases {
            let mut state = State::empty();
            state.head.feature_level = has;
            let mut txn = Txn::begin(&mut state);
            assert_eq!(raise(&mut txn, level).is_ok(), want, "{has} to {level}");
            assert_eq!(txn.head.feature_level, if want { level } else { has });
        }
    }

    #[test]
    fn an_entry_of_an_unknown_level_stops_the_replica() {
        assert!(check_known(Index(7), 1, 1).is_ok());
        let fault = check_known(Index(7), 2, 1).expect_err("unknown");
        assert_eq!(
            fault.to_string(),
            "entry 7 needs feature level 2, this build knows 1: install the release that the other replicas run"
        );
    }
}
