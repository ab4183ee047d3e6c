//! Leases of etcd's: granted, revoked, run out.
//!
//! Promises: as etcd: a grant is no revision of the keyspace; the end of a lease deletes its keys in one revision, in their
//! order, or makes none when it has no keys. Left out on purpose: renewals, which never enter the log, and the choice of ids
//! and the shortest time to live, which are the business of whoever takes requests.

use quorate_types::limits::{KV_LEASE_TTL_S_MAX, KV_LEASES_MAX};

use crate::refusal::{ParameterRule, Refusal};
use crate::reply::Reply;
use crate::txn::Txn;
use crate::user::KvGrant;

/// Grants a lease.
pub(crate) fn grant(txn: &mut Txn<'_>, lease: i64, ttl_s: u64) -> Result<Reply, Refusal> {
    if !(1..=KV_LEASE_TTL_S_MAX).contains(&ttl_s) {
        let (min, max) = (1, KV_LEASE_TTL_S_MAX);
        return Err(Refusal::parameter("ttl_s", ParameterRule::Range { min, max }));
    }
    if lease == 0 {
        return Err(Refusal::KvLeaseNotFound { lease });
    }
    let user = txn.user();
    if user.lease_table().get(lease).is_some() {
        return Err(Refusal::KvLeaseExists { lease });
    }
    if user.leases().len() >= KV_LEASES_MAX {
        return Err(Refusal::KvLeaseLimit);
    }
    user.grant(lease, ttl_s);
    Ok(Reply::KvLeaseGranted {
        revision: user.revision(),
    })
}

/// Ends a lease, and deletes its keys.
pub(crate) fn revoke(txn: &mut Txn<'_>, lease: i64) -> Result<Reply, Refusal> {
    let user = txn.user();
    if user.lease_table().get(lease).is_none() {
        return Err(Refusal::KvLeaseNotFound { lease });
    }
    user.end_lease(lease);
    Ok(Reply::KvLeaseRevoked {
        revision: user.revision(),
    })
}

/// Ends leases whose time is up at the leader. Those that are gone already are skipped: two leaders may propose the same
/// expiry, and a client may revoke its lease, and even grant it again, while its expiry is on the way.
pub(crate) fn expire(txn: &mut Txn<'_>, grants: &[KvGrant]) -> Result<Reply, Refusal> {
    let user = txn.user();
    let mut count = 0;
    for expired in grants {
        let lives = user.lease_table().get(expired.lease);
        if lives.is_some_and(|lease| lease.grant == *expired) {
            user.end_lease(expired.lease);
            user.close();
            count += 1;
        }
    }
    Ok(Reply::LeasesExpired { count })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_types::Revision;

    use super::*;
    use crate::command::Command;
    use crate::domain::kv::{KvDelete, KvOp, KvPut, KvTxn};
    use crate::fixture::Log;

    fn log() -> Log {
        let mut log = Log::new();
        assert!(log.apply(&Command::RaiseFeatureLevel { level: 3 }).is_ok());
        log
    }

    fn grant(lease: i64) -> Command {
        Command::GrantKvLease { lease, ttl_s: 5 }
    }

    fn run(ops: Vec<KvOp>) -> Command {
        Command::Kv(KvTxn {
            success: ops,
            ..KvTxn::default()
        })
    }

    fn put(key: &'static str, lease: i64) -> Command {
        run(vec![KvOp::Put(KvPut {
            key: Bytes::from_static(key.as_bytes()),
            lease,
            ..KvPut::default()
        })])
    }

    fn keys(log: &Log, lease: i64) -> Vec<String> {
        let image = log.machine.image();
        let keys = image.kv_lease_keys(lease);
        keys.map(|key| String::from_utf8_lossy(key).into_owned())
            .collect()
    }

    fn revision(log: &Log) -> u64 {
        assert!(log.machine.image().audit().is_ok());
        log.machine.image().kv_revision().0
    }

    #[test]
    fn keys_die_with_their_lease_in_one_revision() {
        let mut log = log();
        assert_eq!(
            log.apply(&grant(7)),
            Ok(Reply::KvLeaseGranted {
                revision: Revision(1)
            })
        );
        for key in ["b", "a", "c"] {
            assert!(log.apply(&put(key, 7)).is_ok());
        }
        assert!(log.apply(&put("d", 0)).is_ok());
        assert_eq!(keys(&log, 7), ["a", "b", "c"]);
        assert_eq!(
            log.apply(&Command::RevokeKvLease { lease: 7 }),
            Ok(Reply::KvLeaseRevoked {
                revision: Revision(6)
            })
        );
        assert_eq!((revision(&log), keys(&log, 7)), (6, vec![]));
        assert_eq!(
            log.apply(&put("a", 7)),
            Err(Refusal::KvLeaseNotFound { lease: 7 }),
            "it is gone"
        );
        assert_eq!(
            log.apply(&Command::RevokeKvLease { lease: 7 }),
            Err(Refusal::KvLeaseNotFound { lease: 7 })
        );
        assert!(log.apply(&grant(8)).is_ok());
        assert_eq!(
            log.apply(&Command::RevokeKvLease { lease: 8 }),
            Ok(Reply::KvLeaseRevoked {
                revision: Revision(6)
            }),
            "without keys there is no revision"
        );
    }

    #[test]
    fn a_key_has_the_lease_of_its_last_write() {
        let mut log = log();
        assert!(log.apply(&grant(1)).is_ok());
        assert!(log.apply(&grant(2)).is_ok());
        assert!(log.apply(&put("a", 1)).is_ok());
        assert!(log.apply(&put("b", 1)).is_ok());
        assert!(log.apply(&put("c", 1)).is_ok());
        assert!(log.apply(&put("a", 2)).is_ok());
        assert!(log.apply(&put("b", 0)).is_ok());
        assert_eq!(
            (keys(&log, 1), keys(&log, 2)),
            (vec!["c".into()], vec!["a".into()])
        );
        let kept = KvOp::Put(KvPut {
            key: Bytes::from_static(b"a"),
            ignore_lease: true,
            ..KvPut::default()
        });
        assert!(log.apply(&run(vec![kept])).is_ok());
        assert_eq!(keys(&log, 2), ["a"]);
        let delete = KvOp::Delete(KvDelete {
            key: Bytes::from_static(b"a"),
            ..KvDelete::default()
        });
        assert!(log.apply(&run(vec![delete])).is_ok());
        assert_eq!(keys(&log, 2), [""; 0]);
        assert_eq!(revision(&log), 8);
    }

    #[test]
    fn an_expiry_hits_the_grant_that_it_means_and_no_other() {
        let mut log = log();
        let granted = |log: &Log, lease| log.machine.image().kv_lease(lease).map(|lease| lease.grant);
        for lease in [1, 2, 3] {
            assert!(log.apply(&grant(lease)).is_ok());
        }
        assert!(log.apply(&put("a", 1)).is_ok());
        assert!(log.apply(&put("b", 2)).is_ok());
        let grants: Vec<_> = [1, 2, 3].into_iter().filter_map(|id| granted(&log, id)).collect();
        assert!(log.apply(&Command::RevokeKvLease { lease: 2 }).is_ok());
        assert!(log.apply(&grant(2)).is_ok());
        assert!(log.apply(&put("b", 2)).is_ok());
        assert_eq!(revision(&log), 5);
        let expire = Command::ExpireKvLeases { grants };
        assert_eq!(log.apply(&expire), Ok(Reply::LeasesExpired { count: 2 }));
        assert_eq!((keys(&log, 1), keys(&log, 2)), (vec![], vec!["b".into()]));
        assert_eq!((granted(&log, 1), granted(&log, 3)), (None, None));
        assert_eq!(revision(&log), 6);
        assert_eq!(log.apply(&expire), Ok(Reply::LeasesExpired { count: 0 }));
    }

    #[test]
    fn each_lease_that_runs_out_makes_a_revision_of_its_own() {
        let mut log = log();
        for (lease, key) in [(1, "a"), (2, "b")] {
            assert!(log.apply(&grant(lease)).is_ok());
            assert!(log.apply(&put(key, lease)).is_ok());
        }
        let image = log.machine.image();
        let grants = image.kv_leases().iter().map(|lease| lease.grant).collect();
        assert!(log.apply(&Command::ExpireKvLeases { grants }).is_ok());
        assert_eq!(revision(&log), 5);
    }

    #[test]
    fn wrong_grants_are_refused_and_change_nothing() {
        let mut log = log();
        assert!(log.apply(&grant(7)).is_ok());
        let range = || {
            let (min, max) = (1, KV_LEASE_TTL_S_MAX);
            Refusal::parameter("ttl_s", ParameterRule::Range { min, max })
        };
        let cases = [
            (7, 5, Refusal::KvLeaseExists { lease: 7 }),
            (0, 5, Refusal::KvLeaseNotFound { lease: 0 }),
            (8, 0, range()),
            (8, KV_LEASE_TTL_S_MAX + 1, range()),
        ];
        for (lease, ttl_s, want) in cases {
            let before = log.machine.image().content_digest();
            assert_eq!(log.apply(&Command::GrantKvLease { lease, ttl_s }), Err(want));
            assert_eq!(log.machine.image().content_digest(), before);
        }
        for lease in [i64::MIN, i64::MAX, -1] {
            assert!(log.apply(&grant(lease)).is_ok(), "clients choose any number");
        }
        let mut below = Log::new();
        assert!(below.apply(&Command::RaiseFeatureLevel { level: 2 }).is_ok());
        assert_eq!(
            below.apply(&grant(7)),
            Err(Refusal::FeatureLevel { needs: 3, has: 2 })
        );
    }
}
