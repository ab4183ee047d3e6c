//! Users for the tests of every service.

use bytes::Bytes;
use quorate_replica::machine::{
    Command, KvAccess, KvAuthChange, KvCaller, KvPassword, KvPasswordKind, KvPermission, KvSecret,
};
use tonic::Request;

use super::Guard;
use crate::testing::Memory;

const SECRET: &[u8] = &[7; 32];

fn secret() -> KvSecret {
    KvSecret(Bytes::from_static(SECRET))
}

/// Turns authentication on: root, and a user `one` that may read `a` to `m` and write `a` to `c`. Their passwords fit nothing.
pub(crate) fn enable(memory: &Memory) {
    let named = str::to_owned;
    let user = |name| KvAuthChange::AddUser {
        name: named(name),
        no_password: false,
        password: Some(KvPassword {
            kind: KvPasswordKind::Pbkdf2HmacSha512,
            rounds: 1,
            salt: Bytes::new(),
            hash: Bytes::new(),
        }),
    };
    let member = |user, role| KvAuthChange::GrantRole {
        user: named(user),
        role: named(role),
    };
    let permission = |access, range_end: &'static str| KvAuthChange::GrantPermission {
        role: named("r"),
        permission: Some(KvPermission {
            access,
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from(range_end),
        }),
    };
    let changes = [
        user("root"),
        member("root", "root"),
        user("one"),
        KvAuthChange::AddRole { name: named("r") },
        member("one", "r"),
        permission(KvAccess::Read, "m"),
        permission(KvAccess::Write, "c"),
        KvAuthChange::Enable { secret: secret() },
    ];
    memory.wrote(changes.map(Command::KvAuth));
}

/// A call with a user's token; without a name, one without a token.
pub(crate) fn by<T>(user: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !user.is_empty() {
        let user = user.to_owned();
        let revision = 1_000;
        let token = Guard::new().token(&secret(), &KvCaller { user, revision });
        let token = token.parse().expect("hexadecimal");
        request.metadata_mut().insert("token", token);
    }
    request
}
