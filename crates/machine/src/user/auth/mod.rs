//! etcd's users and roles: who there is, and what each may do.
//!
//! Promises: rows are the truth, and what is looked up is kept up to date beside them; a permission is asked for without
//! decoding anything. Left out on purpose: which changes are allowed ([`crate::domain::kv`]), and how somebody proves to be a user,
//! which is the business of whoever takes requests: what arrives here is a name and the revision of that proof.
//!
//! The auth revision is etcd's: it counts changes of users and roles, not of keys, and to enable is none.

mod permit;
mod ranges;
mod row;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use quorate_types::Revision;

use crate::keyspace::{History, Keyspace, KeyspaceTag, Row};
use ranges::Ranges;

pub use permit::{KvCaller, KvNeed};
pub(crate) use row::Head;
pub use row::{KvAccess, KvPassword, KvPasswordKind, KvPermission, KvSecret, KvUser};

/// The user that rules while authentication is enabled, and the role that makes a user one that may do everything.
pub const KV_ROOT: &str = "root";

/// Revision of the rows before the first.
const FIRST: Revision = Revision(1);

/// Which table a row is of: the first byte of its key.
const HEAD: u8 = 1;
const USER: u8 = 2;
const ROLE: u8 = 3;

/// See the module. A clone costs the same whatever the size.
#[derive(Debug, Clone)]
pub struct KvAuth {
    rows: Keyspace,
    view: View,
}

/// What the rows say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    head: Head,
    users: OrdMap<String, Arc<KvUser>>,
    roles: OrdMap<String, Arc<Role>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Role {
    permissions: Vec<KvPermission>,
    read: Ranges,
    write: Ranges,
}

impl Role {
    fn new(permissions: Vec<KvPermission>) -> Self {
        let ranges = |access| {
            let those = permissions.iter().filter(|one| one.access.includes(access));
            Ranges::new(those.map(|one| (&one.key, &one.range_end)))
        };
        Self {
            read: ranges(KvAccess::Read),
            write: ranges(KvAccess::Write),
            permissions,
        }
    }
}

/// One write of a row.
pub(crate) enum AuthWrite {
    Head(Head),
    User(String, Option<KvUser>),
    /// By key.
    Role(String, Option<Vec<KvPermission>>),
}

impl View {
    fn new() -> Self {
        Self {
            head: Head::FIRST,
            users: OrdMap::new(),
            roles: OrdMap::new(),
        }
    }

    /// Takes a write over, and gives it as a row.
    fn write(&mut self, write: AuthWrite) -> (Bytes, Option<Bytes>) {
        match write {
            AuthWrite::Head(head) => {
                let row = head.encode();
                self.head = head;
                (key(HEAD, ""), Some(row))
            }
            AuthWrite::User(name, user) => {
                let (key, row) = (key(USER, &name), user.as_ref().map(KvUser::encode));
                match user {
                    Some(user) => drop(self.users.insert(name, Arc::new(user))),
                    None => drop(self.users.remove(&name)),
                }
                (key, row)
            }
            AuthWrite::Role(name, permissions) => {
                let key = key(ROLE, &name);
                let row = permissions.as_deref().map(row::encode_role);
                match permissions {
                    Some(permissions) => drop(self.roles.insert(name, Arc::new(Role::new(permissions)))),
                    None => drop(self.roles.remove(&name)),
                }
                (key, row)
            }
        }
    }

    /// `None` when a row cannot be read.
    fn read(rows: &OrdMap<Bytes, Arc<Row>>) -> Option<Self> {
        let mut view = Self::new();
        for (key, row) in rows {
            let (table, name) = key.split_first()?;
            let name = std::str::from_utf8(name).ok()?.to_owned();
            match *table {
                HEAD if name.is_empty() => view.head = Head::decode(&row.value)?,
                USER => drop(view.users.insert(name, Arc::new(KvUser::decode(&row.value)?))),
                ROLE => {
                    let role = Role::new(row::decode_role(&row.value)?);
                    view.roles.insert(name, Arc::new(role));
                }
                _ => return None,
            }
        }
        Some(view)
    }
}

impl KvAuth {
    /// Without users.
    pub(super) fn new() -> Self {
        Self {
            rows: rows(FIRST, OrdMap::new()),
            view: View::new(),
        }
    }

    /// From the parts of a snapshot; `None` when a row cannot be read.
    pub(super) fn from_parts(revision: Revision, of: OrdMap<Bytes, Arc<Row>>) -> Option<Self> {
        let view = View::read(&of)?;
        Some(Self {
            rows: rows(revision, of),
            view,
        })
    }

    pub(super) fn rows(&self) -> &Keyspace {
        &self.rows
    }

    /// Makes writes that belong together.
    pub(super) fn write(&mut self, writes: impl Iterator<Item = AuthWrite>) {
        let writes = writes.map(|write| self.view.write(write)).collect();
        self.rows.commit(writes);
        // Nobody watches them.
        self.rows.forget(self.rows.revision().next());
    }

    /// Whether what is kept up to date is what follows from the rows.
    pub(super) fn fits(&self) -> bool {
        let again = View::read(self.rows.rows());
        again.as_ref() == Some(&self.view) && self.rows.digest() == self.rows.recomputed_digest()
    }

    pub(crate) fn head(&self) -> &Head {
        &self.view.head
    }

    /// Only known users are served.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.view.head.is_on
    }

    /// Counts changes of users and roles, from 1.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.view.head.revision
    }

    /// What tokens are signed with; none while it was never enabled.
    #[must_use]
    pub fn secret(&self) -> Option<&KvSecret> {
        self.view.head.secret.as_ref()
    }

    /// A user by its name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&KvUser> {
        self.view.users.get(name).map(|user| &**user)
    }

    /// Users and their names, ascending.
    pub fn users(&self) -> impl Iterator<Item = (&str, &KvUser)> + use<'_> {
        self.view.users.iter().map(|(name, user)| (&name[..], &**user))
    }

    pub(crate) fn users_len(&self) -> usize {
        self.view.users.len()
    }

    /// The permissions of a role by its name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&[KvPermission]> {
        self.view.roles.get(name).map(|role| &role.permissions[..])
    }

    /// The names of all roles, ascending.
    pub fn roles(&self) -> impl Iterator<Item = &str> + use<'_> {
        self.view.roles.keys().map(|name| &name[..])
    }

    pub(crate) fn roles_len(&self) -> usize {
        self.view.roles.len()
    }
}

fn rows(revision: Revision, of: OrdMap<Bytes, Arc<Row>>) -> Keyspace {
    let history = History::restored(revision.next(), []);
    Keyspace::from_parts(KeyspaceTag::Auth, revision, of, history)
}

fn key(table: u8, name: &str) -> Bytes {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(table);
    key.extend_from_slice(name.as_bytes());
    Bytes::from(key)
}

/// What a secret has to be.
pub(crate) fn is_secret(secret: &KvSecret) -> bool {
    secret.0.len() == row::SECRET_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(since: u64) -> KvUser {
        KvUser {
            password: Some(KvPassword {
                kind: KvPasswordKind::Pbkdf2HmacSha512,
                rounds: 7,
                salt: Bytes::from_static(b"salt"),
                hash: Bytes::from_static(b"hash"),
            }),
            roles: vec!["a".to_owned(), "b".to_owned()],
            since,
            ..KvUser::default()
        }
    }

    #[test]
    fn rows_say_what_is_looked_up() {
        let permission = KvPermission {
            access: KvAccess::ReadWrite,
            key: Bytes::from_static(b"k"),
            range_end: Bytes::from_static(b"\0"),
        };
        let head = Head {
            is_on: true,
            revision: 9,
            secret: Some(KvSecret(Bytes::from_static(&[7; SECRET]))),
            enabled_at: 8,
        };
        const SECRET: usize = row::SECRET_BYTES;
        let mut auth = KvAuth::new();
        let writes = [
            AuthWrite::Head(head.clone()),
            AuthWrite::User("one".to_owned(), Some(user(3))),
            AuthWrite::User("two".to_owned(), Some(user(4))),
            AuthWrite::Role("a".to_owned(), Some(vec![permission.clone()])),
            AuthWrite::User("one".to_owned(), None),
        ];
        auth.write(writes.into_iter());
        assert!(auth.fits());
        let again = KvAuth::from_parts(auth.rows.revision(), auth.rows.rows().clone());
        let again = again.expect("rows that can be read");
        assert_eq!(
            (&again.view, again.rows.digest()),
            (&auth.view, auth.rows.digest())
        );
        assert_eq!(again.head(), &head);
        assert_eq!(again.user("one"), None);
        assert_eq!(again.user("two"), Some(&user(4)));
        assert_eq!(again.role("a"), Some(&[permission][..]));
        auth.view.users = OrdMap::new();
        assert!(!auth.fits());
    }

    #[test]
    fn rows_that_nobody_wrote_are_no_users() {
        let row = |value: &'static [u8]| {
            Arc::new(Row {
                value: Bytes::from_static(value),
                create_revision: Revision(2),
                mod_revision: Revision(2),
                version: 1,
                lease: 0,
            })
        };
        let unknown_kind: &[u8] = &[0x12, 0x02, 0x08, 0x09];
        let cases: [(&'static [u8], &'static [u8]); 5] = [
            (b"", b""),
            (b"\x09a", b""),
            (b"\x01a", b""),
            (b"\x02\xff", b""),
            (b"\x02a", unknown_kind),
        ];
        for (key, value) in cases {
            let rows = OrdMap::unit(Bytes::from_static(key), row(value));
            assert!(KvAuth::from_parts(Revision(2), rows).is_none(), "{key:?}");
        }
    }

    #[test]
    fn nothing_shows_a_password_or_a_secret() {
        let secret = KvSecret(Bytes::from_static(b"secret"));
        let shown = format!("{:?} {secret:?}", user(1));
        assert!(!shown.contains("hash") && !shown.contains("secret"), "{shown}");
    }
}
