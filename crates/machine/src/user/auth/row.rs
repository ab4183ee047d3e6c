//! Users and roles, as they are and as rows have them.
//!
//! Promises: what is written reads back the same; what nobody could have written is `None`. Passwords and secrets show
//! themselves to nobody, not in debugging output either. Left out on purpose: how a password is derived from, which takes long
//! and is done before anything is proposed.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use quorate_format::v1;

/// What tokens are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct KvSecret(pub Bytes);

/// Bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;

impl fmt::Debug for KvSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KvSecret(..)")
    }
}

/// How a password is derived from. The numbers are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvPasswordKind {
    /// PBKDF2 with HMAC-SHA-512.
    Pbkdf2HmacSha512 = 1,
}

/// What a password was turned into, so that it can be recognised and not be had back.
#[derive(Clone, PartialEq, Eq)]
pub struct KvPassword {
    /// How.
    pub kind: KvPasswordKind,
    /// How often.
    pub rounds: u32,
    /// At random.
    pub salt: Bytes,
    /// What came of it.
    pub hash: Bytes,
}

impl fmt::Debug for KvPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KvPassword(..)")
    }
}

impl KvPassword {
    pub(crate) fn to_wire(&self) -> v1::KvPassword {
        v1::KvPassword {
            kind: self.kind as u32,
            rounds: self.rounds,
            salt: self.salt.clone(),
            hash: self.hash.clone(),
        }
    }

    pub(crate) fn from_wire(wire: v1::KvPassword) -> Option<Self> {
        Some(Self {
            kind: match wire.kind {
                1 => KvPasswordKind::Pbkdf2HmacSha512,
                _ => return None,
            },
            rounds: wire.rounds,
            salt: wire.salt,
            hash: wire.hash,
        })
    }
}

/// A user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvUser {
    /// It cannot prove anything by a password.
    pub no_password: bool,
    /// `None`: none fits.
    pub password: Option<KvPassword>,
    /// Ascending.
    pub roles: Vec<String>,
    /// The auth revision at which it came to be, or its password was changed.
    pub since: u64,
}

impl KvUser {
    pub(super) fn encode(&self) -> Bytes {
        let row = v1::KvUserRow {
            no_password: self.no_password,
            password: self.password.as_ref().map(KvPassword::to_wire),
            roles: self.roles.clone(),
            since: self.since,
        };
        Bytes::from(row.encode_to_vec())
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let row = v1::KvUserRow::decode(row).ok()?;
        let password = match row.password {
            Some(password) => Some(KvPassword::from_wire(password)?),
            None => None,
        };
        Some(Self {
            no_password: row.no_password,
            password,
            roles: row.roles,
            since: row.since,
        })
    }

    /// Whether it has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|has| has == role)
    }
}

/// What may be done. The numbers are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum KvAccess {
    Read = 1,
    Write = 2,
    ReadWrite = 3,
}

impl KvAccess {
    /// Whether it lets its owner do this.
    pub(super) fn includes(self, what: Self) -> bool {
        self == Self::ReadWrite || self == what
    }
}

/// What may be done with a range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvPermission {
    /// What.
    pub access: KvAccess,
    /// The first key.
    pub key: Bytes,
    /// As in [`crate::KvRange`].
    pub range_end: Bytes,
}

impl KvPermission {
    pub(crate) fn to_wire(&self) -> v1::KvPermission {
        v1::KvPermission {
            access: self.access as u32,
            key: self.key.clone(),
            range_end: self.range_end.clone(),
        }
    }

    pub(crate) fn from_wire(wire: v1::KvPermission) -> Option<Self> {
        Some(Self {
            access: match wire.access {
                1 => KvAccess::Read,
                2 => KvAccess::Write,
                3 => KvAccess::ReadWrite,
                _ => return None,
            },
            key: wire.key,
            range_end: wire.range_end,
        })
    }

    /// Whether it is on this very range.
    pub(crate) fn is_on(&self, key: &[u8], range_end: &[u8]) -> bool {
        self.key[..] == *key && self.range_end[..] == *range_end
    }
}

pub(super) fn encode_role(permissions: &[KvPermission]) -> Bytes {
    let row = v1::KvRoleRow {
        permissions: permissions.iter().map(KvPermission::to_wire).collect(),
    };
    Bytes::from(row.encode_to_vec())
}

pub(super) fn decode_role(row: &[u8]) -> Option<Vec<KvPermission>> {
    let row = v1::KvRoleRow::decode(row).ok()?;
    let permissions = row.permissions.into_iter();
    permissions.map(KvPermission::from_wire).collect()
}

/// What holds for all users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) is_on: bool,
    pub(crate) revision: u64,
    pub(crate) secret: Option<KvSecret>,
    pub(crate) enabled_at: u64,
}

impl Head {
    /// As etcd begins to count.
    pub(super) const FIRST: Self = Self {
        is_on: false,
        revision: 1,
        secret: None,
        enabled_at: 0,
    };

    pub(super) fn encode(&self) -> Bytes {
        let secret = self.secret.as_ref();
        let row = v1::KvAuthRow {
            enabled: self.is_on,
            revision: self.revision,
            secret: secret.map(|secret| secret.0.clone()).unwrap_or_default(),
            enabled_at: self.enabled_at,
        };
        Bytes::from(row.encode_to_vec())
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let row = v1::KvAuthRow::decode(row).ok()?;
        Some(Self {
            is_on: row.enabled,
            revision: row.revision,
            secret: (!row.secret.is_empty()).then_some(KvSecret(row.secret)),
            enabled_at: row.enabled_at,
        })
    }
}
