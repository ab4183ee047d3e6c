//! Changes and what they come to, one after the other.

use bytes::Bytes;
use quorate_types::Revision;

use super::*;
use crate::domain::kv::{KvOp, KvPut, KvTxn};
use crate::fixture::Log;
use crate::user::{KvAccess, KvPasswordKind};
use crate::{Image, Outcome};

fn named(name: &str) -> String {
    name.to_owned()
}

fn password(of: &str) -> Option<KvPassword> {
    Some(KvPassword {
        kind: KvPasswordKind::Pbkdf2HmacSha512,
        rounds: 1,
        salt: Bytes::new(),
        hash: Bytes::copy_from_slice(of.as_bytes()),
    })
}

fn enabling(secret: u8) -> KvAuthChange {
    let secret = KvSecret(Bytes::from(vec![secret; 32]));
    KvAuthChange::Enable { secret }
}

fn adding(name: &str) -> KvAuthChange {
    KvAuthChange::AddUser {
        name: named(name),
        no_password: false,
        password: password("p"),
    }
}

fn deleting(name: &str) -> KvAuthChange {
    KvAuthChange::DeleteUser { name: named(name) }
}

fn passwd(name: &str, to: &str) -> KvAuthChange {
    KvAuthChange::ChangePassword {
        name: named(name),
        password: password(to),
    }
}

fn granting(user: &str, role: &str) -> KvAuthChange {
    let (user, role) = (named(user), named(role));
    KvAuthChange::GrantRole { user, role }
}

fn revoking(user: &str, role: &str) -> KvAuthChange {
    let (user, role) = (named(user), named(role));
    KvAuthChange::RevokeRole { user, role }
}

fn role_adding(name: &str) -> KvAuthChange {
    KvAuthChange::AddRole { name: named(name) }
}

fn role_deleting(name: &str) -> KvAuthChange {
    KvAuthChange::DeleteRole { name: named(name) }
}

fn permitting(role: &str, access: KvAccess, key: &str, range_end: &str) -> KvAuthChange {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    KvAuthChange::GrantPermission {
        role: named(role),
        permission: Some(KvPermission {
            access,
            key: bytes(key),
            range_end: bytes(range_end),
        }),
    }
}

fn forbidding(role: &str, key: &str, range_end: &str) -> KvAuthChange {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    KvAuthChange::RevokePermission {
        role: named(role),
        key: bytes(key),
        range_end: bytes(range_end),
    }
}

fn put(key: &'static str) -> Command {
    let put = KvPut {
        key: Bytes::from(key),
        ..KvPut::default()
    };
    Command::Kv(KvTxn {
        success: vec![KvOp::Put(put)],
        ..KvTxn::default()
    })
}

fn by(user: &str, revision: u64, command: Command) -> Command {
    let user = named(user);
    Command::By(KvCaller { user, revision }, Box::new(command))
}

fn log() -> Log {
    let mut log = Log::new();
    assert!(log.apply(&Command::RaiseFeatureLevel { level: 4 }).is_ok());
    log
}

/// Its outcome and the auth revision after it.
fn told(log: &mut Log, change: KvAuthChange) -> (Outcome, u64) {
    let outcome = log.apply(&Command::KvAuth(change));
    (outcome, log.machine.image().kv_auth().revision())
}

fn image(log: &Log) -> Image {
    log.machine.image()
}

#[test]
fn each_change_has_its_refusals_and_raises_the_auth_revision_by_one() {
    use KvAccess::{Read, ReadWrite};
    let steps: Vec<(KvAuthChange, Result<u64, No>)> = vec![
        (enabling(1), Err(No::RootUserNotFound)),
        (adding(""), Err(No::UserEmpty)),
        (adding("root"), Ok(2)),
        (adding("root"), Err(No::UserExists)),
        (enabling(1), Err(No::RootRoleNotGranted)),
        (granting("root", "none"), Err(No::RoleNotFound)),
        (granting("none", "root"), Err(No::UserNotFound)),
        (granting("root", "root"), Ok(3)),
        (granting("root", "root"), Ok(3)),
        (role_adding(""), Err(No::RoleEmpty)),
        (role_adding("r"), Ok(4)),
        (role_adding("r"), Err(No::RoleExists)),
        (role_deleting("none"), Err(No::RoleNotFound)),
        (permitting("r", Read, "b", "d"), Ok(5)),
        (permitting("r", Read, "b", "c"), Ok(6)),
        (permitting("r", Read, "a", ""), Ok(7)),
        (permitting("r", ReadWrite, "b", "c"), Ok(8)),
        (permitting("none", Read, "a", ""), Err(No::RoleNotFound)),
        (permitting("r", Read, "", ""), Err(No::InvalidManagement)),
        (permitting("r", Read, "b", "a"), Err(No::InvalidManagement)),
        (permitting("r", Read, "b", "\0"), Ok(9)),
        (forbidding("r", "b", "\0"), Ok(10)),
        (forbidding("r", "b", "\0"), Err(No::PermissionNotGranted)),
        (forbidding("none", "b", ""), Err(No::RoleNotFound)),
        (adding("one"), Ok(11)),
        (granting("one", "r"), Ok(12)),
        (revoking("one", "root"), Err(No::RoleNotGranted)),
        (revoking("none", "r"), Err(No::UserNotFound)),
        (passwd("none", "x"), Err(No::UserNotFound)),
        (passwd("one", "x"), Ok(13)),
        (deleting("none"), Err(No::UserNotFound)),
        (KvAuthChange::Disable, Ok(13)),
    ];
    let mut log = log();
    for (change, want) in steps {
        let what = format!("{change:?}");
        let before = image(&log).kv_auth().revision();
        let (outcome, revision) = told(&mut log, change);
        match want {
            Ok(want) => assert_eq!((outcome.is_ok(), revision), (true, want), "{what}"),
            Err(rule) => assert_eq!((outcome, revision), (Err(rule.into()), before), "{what}"),
        }
    }
    let image = image(&log);
    assert_eq!(
        image.kv_revision(),
        Revision(1),
        "that is no revision of the keys"
    );
    let permissions = image.kv_auth().role("r").unwrap_or_default().iter();
    let shown: Vec<_> = permissions
        .map(|one| (one.access, &one.key[..], &one.range_end[..]))
        .collect();
    assert_eq!(
        shown,
        [
            (Read, &b"a"[..], &b""[..]),
            (Read, b"b", b"d"),
            (ReadWrite, b"b", b"c")
        ]
    );
    let one = image.kv_auth().user("one").expect("added");
    assert_eq!((&one.roles[..], one.since), (&[named("r")][..], 13));
    assert_eq!(one.password, password("x"));
    let given = KvAuthChange::GrantPermission {
        role: named("none"),
        permission: None,
    };
    assert_eq!(told(&mut log, given).0, Err(No::PermissionNotGiven.into()));
}

/// Enabled at 6, with a user that may write k.
fn enabled() -> Log {
    let mut log = log();
    for change in [
        adding("root"),
        granting("root", "root"),
        role_adding("writes"),
        permitting("writes", KvAccess::Write, "k", ""),
        adding("one"),
    ] {
        assert!(told(&mut log, change).0.is_ok());
    }
    assert!(log.apply(&Command::KvAuth(granting("one", "writes"))).is_ok());
    let (outcome, revision) = told(&mut log, enabling(1));
    assert_eq!((outcome.is_ok(), revision), (true, 7));
    log
}

#[test]
fn while_it_is_enabled_everybody_is_asked() {
    let denied = |rule: No| Err(rule.into());
    let mut log = enabled();
    assert_eq!(log.apply(&put("k")), denied(No::UserEmpty));
    assert_eq!(log.apply(&by("one", 6, put("k"))), denied(No::OldRevision));
    assert_eq!(log.apply(&by("none", 7, put("k"))), denied(No::OldRevision));
    assert!(log.apply(&by("one", 7, put("k"))).is_ok());
    assert_eq!(log.apply(&by("one", 7, put("l"))), denied(No::PermissionDenied));
    assert!(log.apply(&by("root", 7, put("l"))).is_ok());
    let grant = Command::GrantKvLease { lease: 1, ttl_s: 60 };
    assert_eq!(log.apply(&grant), denied(No::UserEmpty));
    assert!(log.apply(&by("one", 7, grant)).is_ok());
    let revoke = Command::RevokeKvLease { lease: 1 };
    assert_eq!(log.apply(&revoke), denied(No::UserEmpty));
    assert!(log.apply(&by("one", 7, revoke)).is_ok());
    let add = Command::KvAuth(adding("two"));
    assert_eq!(log.apply(&add), denied(No::UserEmpty));
    assert_eq!(
        log.apply(&by("one", 7, add.clone())),
        denied(No::PermissionDenied)
    );
    assert!(log.apply(&by("root", 7, add)).is_ok());
    assert!(log.apply(&crate::fixture::create("books")).is_ok());
    assert_eq!(image(&log).kv_revision(), Revision(3));
}

#[test]
fn what_the_cluster_does_by_itself_is_asked_of_nobody() {
    let mut log = enabled();
    let grant = Command::GrantKvLease { lease: 1, ttl_s: 60 };
    assert!(log.apply(&by("root", 7, grant)).is_ok());
    let mut leased = put("l");
    if let Command::Kv(txn) = &mut leased
        && let Some(KvOp::Put(put)) = txn.success.first_mut()
    {
        put.lease = 1;
    }
    assert!(log.apply(&by("root", 7, leased)).is_ok());
    // A lease that ran out, or whose keeper is gone: nobody's name is on it.
    let grants = vec![image(&log).kv_lease(1).expect("granted").grant];
    assert!(log.apply(&Command::ExpireKvLeases { grants }).is_ok());
    assert_eq!(image(&log).kv_lease(1), None);
    assert_eq!(image(&log).kv_revision(), Revision(3), "its key went with it");
    assert!(log.apply(&Command::CompactKv { revision: 3 }).is_ok());
    assert_eq!(image(&log).kv_compacted(), Revision(3));
}

#[test]
fn root_stays_while_it_is_enabled() {
    let mut log = enabled();
    let root = |change| by("root", 7, Command::KvAuth(change));
    for change in [deleting("root"), revoking("root", "root"), role_deleting("root")] {
        let what = format!("{change:?}");
        assert_eq!(
            log.apply(&root(change)),
            Err(No::InvalidManagement.into()),
            "{what}"
        );
    }
    assert!(log.apply(&root(enabling(2))).is_ok(), "it is enabled already");
    let secret = |log: &Log| image(log).kv_auth().secret().cloned();
    assert_eq!(secret(&log), Some(KvSecret(Bytes::from(vec![1; 32]))));
    assert!(log.apply(&root(KvAuthChange::Disable)).is_ok());
    assert!(log.apply(&put("k")).is_ok(), "nobody is asked any more");
    assert_eq!(told(&mut log, enabling(3)).1, 8);
    assert_eq!(secret(&log), Some(KvSecret(Bytes::from(vec![3; 32]))));
    assert_eq!(
        log.apply(&by("root", 7, put("k"))),
        Err(No::OldRevision.into()),
        "what was proved before"
    );
    assert!(log.apply(&by("root", 8, put("k"))).is_ok());
}

#[test]
fn what_was_allowed_when_it_was_proposed_may_not_be_any_more() {
    let gone: [(KvAuthChange, No); 5] = [
        (deleting("one"), No::OldRevision),
        (passwd("one", "new"), No::OldRevision),
        (revoking("one", "writes"), No::PermissionDenied),
        (forbidding("writes", "k", ""), No::PermissionDenied),
        (role_deleting("writes"), No::PermissionDenied),
    ];
    for (change, rule) in gone {
        let what = format!("{change:?}");
        let mut log = enabled();
        assert!(log.apply(&by("one", 7, put("k"))).is_ok());
        assert!(
            log.apply(&by("root", 7, Command::KvAuth(change))).is_ok(),
            "{what}"
        );
        assert_eq!(log.apply(&by("one", 7, put("k"))), Err(rule.into()), "{what}");
    }
}

#[test]
fn below_its_feature_level_there_is_none_of_it() {
    let mut log = Log::new();
    assert!(log.apply(&Command::RaiseFeatureLevel { level: 3 }).is_ok());
    let refusal = Refusal::FeatureLevel { needs: 4, has: 3 };
    assert_eq!(log.apply(&Command::KvAuth(adding("a"))), Err(refusal.clone()));
    assert_eq!(log.apply(&by("a", 1, put("k"))), Err(refusal));
    assert!(log.apply(&put("k")).is_ok());
}

#[test]
fn names_and_numbers_are_bounded() {
    let mut log = log();
    let long = "n".repeat(KV_AUTH_NAME_BYTES_MAX + 1);
    assert_eq!(told(&mut log, adding(&long)).0, Err(No::Limit.into()));
    assert_eq!(told(&mut log, role_adding(&long)).0, Err(No::Limit.into()));
    assert!(told(&mut log, adding(&long[1..])).0.is_ok());
    assert!(told(&mut log, role_adding("r")).0.is_ok());
    let large = "k".repeat(KV_PERMISSION_BYTES_PER_ROLE_MAX);
    assert!(
        told(&mut log, permitting("r", KvAccess::Read, &large, ""))
            .0
            .is_ok()
    );
    let one_more = permitting("r", KvAccess::Read, "k", "");
    assert_eq!(told(&mut log, one_more).0, Err(No::Limit.into()));
    let no_password = KvAuthChange::AddUser {
        name: named("p"),
        no_password: true,
        password: password("x"),
    };
    assert!(told(&mut log, no_password).0.is_ok());
    assert!(told(&mut log, passwd("p", "x")).0.is_ok());
    assert_eq!(
        image(&log)
            .kv_auth()
            .user("p")
            .and_then(|user| user.password.clone()),
        None
    );
}
