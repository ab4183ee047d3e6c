//! Users and roles of etcd's: changed, and asked.
//!
//! Promises: as etcd: authentication is enabled only when there is a user root that has the role root, and while it is, neither of
//! them goes, nor root's role from root; what changes users or roles raises the auth revision by one, except enabling; no change is
//! a revision of the keyspace. Every command on etcd's keys is asked for its permission here, in the order of the log: what was
//! allowed when it was proposed may not be any more. Left out on purpose: how a user proves to be one.

use quorate_types::limits::{
    KV_AUTH_NAME_BYTES_MAX, KV_PERMISSION_BYTES_PER_ROLE_MAX, KV_PERMISSIONS_PER_ROLE_MAX, KV_ROLES_MAX,
    KV_ROLES_PER_USER_MAX, KV_USERS_MAX,
};

use crate::command::{Command, KvAuthChange};
use crate::refusal::{KvAuthRule as No, Refusal};
use crate::reply::Reply;
use crate::txn::Txn;
use crate::user::{
    AuthWrite, KV_ROOT, KvAuth, KvCaller, KvPassword, KvPermission, KvSecret, KvUser, is_secret,
};

/// Whether whoever proposed a command may; the cluster's own business always may.
pub(crate) fn admit(txn: &Txn<'_>, by: Option<&KvCaller>, command: &Command) -> Result<(), Refusal> {
    match command.need() {
        Some(need) => Ok(txn.user_now().permits(by, &need)?),
        None => Ok(()),
    }
}

/// Changes users or roles.
pub(crate) fn change(txn: &mut Txn<'_>, change: &KvAuthChange) -> Result<Reply, Refusal> {
    let writes = decide(txn.user_now().auth(), change)?;
    let user = txn.user();
    if !writes.is_empty() {
        user.write_auth(writes);
    }
    Ok(Reply::KvAuthChanged {
        revision: user.revision(),
    })
}

/// The writes that a change comes to; none when it is as wanted already.
fn decide(auth: &KvAuth, change: &KvAuthChange) -> Result<Vec<AuthWrite>, No> {
    match change {
        KvAuthChange::Enable { secret } => enable(auth, secret),
        KvAuthChange::Disable => Ok(disable(auth)),
        KvAuthChange::AddUser {
            name,
            no_password,
            password,
        } => add_user(auth, name, *no_password, password.as_ref()),
        KvAuthChange::DeleteUser { name } => delete_user(auth, name),
        KvAuthChange::ChangePassword { name, password } => change_password(auth, name, password.as_ref()),
        KvAuthChange::GrantRole { user, role } => grant_role(auth, user, role),
        KvAuthChange::RevokeRole { user, role } => revoke_role(auth, user, role),
        KvAuthChange::AddRole { name } => add_role(auth, name),
        KvAuthChange::DeleteRole { name } => delete_role(auth, name),
        KvAuthChange::GrantPermission { role, permission } => {
            grant_permission(auth, role, permission.as_ref())
        }
        KvAuthChange::RevokePermission { role, key, range_end } => {
            revoke_permission(auth, role, key, range_end)
        }
    }
}

/// Writes that raise the auth revision.
fn raised(auth: &KvAuth, writes: impl IntoIterator<Item = AuthWrite>) -> Vec<AuthWrite> {
    let mut head = auth.head().clone();
    head.revision += 1;
    std::iter::once(AuthWrite::Head(head)).chain(writes).collect()
}

fn user<'a>(auth: &'a KvAuth, name: &str) -> Result<&'a KvUser, No> {
    auth.user(name).ok_or(No::UserNotFound)
}

fn role<'a>(auth: &'a KvAuth, name: &str) -> Result<&'a [KvPermission], No> {
    auth.role(name).ok_or(No::RoleNotFound)
}

/// Whether there is room for another one of this name.
fn room(name: &str, len: usize, max: usize) -> Result<(), No> {
    match len < max && name.len() <= KV_AUTH_NAME_BYTES_MAX {
        true => Ok(()),
        false => Err(No::Limit),
    }
}

/// What is done to root while authentication is enabled would lock everybody out.
fn spare_root(auth: &KvAuth, names: &[&str]) -> Result<(), No> {
    match auth.is_on() && names.iter().all(|name| *name == KV_ROOT) {
        true => Err(No::InvalidManagement),
        false => Ok(()),
    }
}

fn enable(auth: &KvAuth, secret: &KvSecret) -> Result<Vec<AuthWrite>, No> {
    if auth.is_on() {
        return Ok(Vec::new());
    }
    let root = auth.user(KV_ROOT).ok_or(No::RootUserNotFound)?;
    if !root.has_role(KV_ROOT) {
        return Err(No::RootRoleNotGranted);
    }
    // Nobody proposes another.
    if !is_secret(secret) {
        return Err(No::InvalidManagement);
    }
    let mut head = auth.head().clone();
    head.is_on = true;
    head.secret = Some(secret.clone());
    head.enabled_at = head.revision;
    Ok(vec![AuthWrite::Head(head)])
}

fn disable(auth: &KvAuth) -> Vec<AuthWrite> {
    if !auth.is_on() {
        return Vec::new();
    }
    let mut head = auth.head().clone();
    head.is_on = false;
    head.revision += 1;
    vec![AuthWrite::Head(head)]
}

fn add_user(
    auth: &KvAuth,
    name: &str,
    no_password: bool,
    password: Option<&KvPassword>,
) -> Result<Vec<AuthWrite>, No> {
    if name.is_empty() {
        return Err(No::UserEmpty);
    }
    if auth.user(name).is_some() {
        return Err(No::UserExists);
    }
    room(name, auth.users_len(), KV_USERS_MAX)?;
    let added = KvUser {
        no_password,
        password: password.cloned().filter(|_| !no_password),
        roles: Vec::new(),
        since: auth.revision() + 1,
    };
    Ok(raised(auth, [AuthWrite::User(name.to_owned(), Some(added))]))
}

fn delete_user(auth: &KvAuth, name: &str) -> Result<Vec<AuthWrite>, No> {
    spare_root(auth, &[name])?;
    user(auth, name)?;
    Ok(raised(auth, [AuthWrite::User(name.to_owned(), None)]))
}

fn change_password(auth: &KvAuth, name: &str, password: Option<&KvPassword>) -> Result<Vec<AuthWrite>, No> {
    let mut changed = user(auth, name)?.clone();
    changed.password = password.cloned().filter(|_| !changed.no_password);
    changed.since = auth.revision() + 1;
    Ok(raised(auth, [AuthWrite::User(name.to_owned(), Some(changed))]))
}

fn grant_role(auth: &KvAuth, name: &str, granted: &str) -> Result<Vec<AuthWrite>, No> {
    let mut changed = user(auth, name)?.clone();
    // Root's role needs no row: it may do everything.
    if granted != KV_ROOT {
        role(auth, granted)?;
    }
    let Err(place) = changed.roles.binary_search_by(|has| has[..].cmp(granted)) else {
        return Ok(Vec::new());
    };
    if changed.roles.len() >= KV_ROLES_PER_USER_MAX {
        return Err(No::Limit);
    }
    changed.roles.insert(place, granted.to_owned());
    Ok(raised(auth, [AuthWrite::User(name.to_owned(), Some(changed))]))
}

fn revoke_role(auth: &KvAuth, name: &str, revoked: &str) -> Result<Vec<AuthWrite>, No> {
    spare_root(auth, &[name, revoked])?;
    let changed = without_role(user(auth, name)?, revoked).ok_or(No::RoleNotGranted)?;
    Ok(raised(auth, [AuthWrite::User(name.to_owned(), Some(changed))]))
}

/// A user that had the role; `None` when it did not.
fn without_role(user: &KvUser, role: &str) -> Option<KvUser> {
    let mut changed = user.clone();
    changed.roles.retain(|has| has != role);
    (changed.roles.len() < user.roles.len()).then_some(changed)
}

fn add_role(auth: &KvAuth, name: &str) -> Result<Vec<AuthWrite>, No> {
    if name.is_empty() {
        return Err(No::RoleEmpty);
    }
    if auth.role(name).is_some() {
        return Err(No::RoleExists);
    }
    room(name, auth.roles_len(), KV_ROLES_MAX)?;
    Ok(raised(auth, [AuthWrite::Role(name.to_owned(), Some(Vec::new()))]))
}

fn delete_role(auth: &KvAuth, name: &str) -> Result<Vec<AuthWrite>, No> {
    spare_root(auth, &[name])?;
    role(auth, name)?;
    let losers = auth.users().filter_map(|(user, has)| {
        let changed = without_role(has, name)?;
        Some(AuthWrite::User(user.to_owned(), Some(changed)))
    });
    let gone = AuthWrite::Role(name.to_owned(), None);
    Ok(raised(auth, std::iter::once(gone).chain(losers)))
}

fn grant_permission(
    auth: &KvAuth,
    name: &str,
    permission: Option<&KvPermission>,
) -> Result<Vec<AuthWrite>, No> {
    let granted = permission.ok_or(No::PermissionNotGiven)?;
    if !is_range(granted) {
        return Err(No::InvalidManagement);
    }
    let mut permissions = role(auth, name)?.to_vec();
    let there = permissions
        .iter_mut()
        .find(|one| one.is_on(&granted.key, &granted.range_end));
    match there {
        Some(there) => there.access = granted.access,
        None => {
            let bytes = |one: &KvPermission| one.key.len() + one.range_end.len();
            let all: usize = permissions.iter().map(bytes).sum();
            let is_too_much = all + bytes(granted) > KV_PERMISSION_BYTES_PER_ROLE_MAX;
            if permissions.len() >= KV_PERMISSIONS_PER_ROLE_MAX || is_too_much {
                return Err(No::Limit);
            }
            let place = permissions.partition_point(|one| one.key <= granted.key);
            permissions.insert(place, granted.clone());
        }
    }
    Ok(raised(
        auth,
        [AuthWrite::Role(name.to_owned(), Some(permissions))],
    ))
}

/// Whether a permission is on some key.
fn is_range(permission: &KvPermission) -> bool {
    let KvPermission { key, range_end, .. } = permission;
    let ends = matches!(&range_end[..], [] | [0]) || key < range_end;
    !key.is_empty() && ends
}

fn revoke_permission(auth: &KvAuth, name: &str, key: &[u8], range_end: &[u8]) -> Result<Vec<AuthWrite>, No> {
    let has = role(auth, name)?;
    let mut permissions = has.to_vec();
    permissions.retain(|one| !one.is_on(key, range_end));
    if permissions.len() == has.len() {
        return Err(No::PermissionNotGranted);
    }
    Ok(raised(
        auth,
        [AuthWrite::Role(name.to_owned(), Some(permissions))],
    ))
}

impl From<No> for Refusal {
    fn from(rule: No) -> Self {
        Self::KvAuth { rule }
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
