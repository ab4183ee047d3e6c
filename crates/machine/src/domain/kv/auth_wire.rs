//! Changes of users and roles as entries have them.
//!
//! Promises: what is written reads back the same; what a later release wrote, or nobody could have written, is `None`.

use quorate_format::v1;
use quorate_format::v1::kv_auth_change::Change as Wire;

use crate::command::KvAuthChange as Change;
use crate::user::{KvPassword, KvPermission, KvSecret};

pub(crate) fn auth_to_wire(change: Change) -> v1::KvAuthChange {
    let password = |password: Option<KvPassword>| password.as_ref().map(KvPassword::to_wire);
    let change = match change {
        Change::Enable { secret } => Wire::Enable(v1::EnableKvAuth { secret: secret.0 }),
        Change::Disable => Wire::Disable(v1::DisableKvAuth {}),
        Change::AddUser {
            name,
            no_password,
            password: given,
        } => Wire::AddUser(v1::AddKvUser {
            name,
            no_password,
            password: password(given),
        }),
        Change::DeleteUser { name } => Wire::DeleteUser(name),
        Change::ChangePassword {
            name,
            password: given,
        } => Wire::ChangePassword(v1::ChangeKvPassword {
            name,
            password: password(given),
        }),
        Change::GrantRole { user, role } => Wire::GrantRole(v1::KvMembership { user, role }),
        Change::RevokeRole { user, role } => Wire::RevokeRole(v1::KvMembership { user, role }),
        Change::AddRole { name } => Wire::AddRole(name),
        Change::DeleteRole { name } => Wire::DeleteRole(name),
        Change::GrantPermission { role, permission } => Wire::GrantPermission(v1::GrantKvPermission {
            role,
            permission: permission.as_ref().map(KvPermission::to_wire),
        }),
        Change::RevokePermission { role, key, range_end } => {
            Wire::RevokePermission(v1::RevokeKvPermission { role, key, range_end })
        }
    };
    v1::KvAuthChange { change: Some(change) }
}

pub(crate) fn auth_from_wire(change: v1::KvAuthChange) -> Option<Change> {
    let password = |password: Option<v1::KvPassword>| match password {
        Some(password) => KvPassword::from_wire(password).map(Some),
        None => Some(None),
    };
    Some(match change.change? {
        Wire::Enable(v1::EnableKvAuth { secret }) => Change::Enable {
            secret: KvSecret(secret),
        },
        Wire::Disable(v1::DisableKvAuth {}) => Change::Disable,
        Wire::AddUser(add) => Change::AddUser {
            name: add.name,
            no_password: add.no_password,
            password: password(add.password)?,
        },
        Wire::DeleteUser(name) => Change::DeleteUser { name },
        Wire::ChangePassword(change) => Change::ChangePassword {
            name: change.name,
            password: password(change.password)?,
        },
        Wire::GrantRole(v1::KvMembership { user, role }) => Change::GrantRole { user, role },
        Wire::RevokeRole(v1::KvMembership { user, role }) => Change::RevokeRole { user, role },
        Wire::AddRole(name) => Change::AddRole { name },
        Wire::DeleteRole(name) => Change::DeleteRole { name },
        Wire::GrantPermission(grant) => Change::GrantPermission {
            role: grant.role,
            permission: match grant.permission {
                Some(permission) => Some(KvPermission::from_wire(permission)?),
                None => None,
            },
        },
        Wire::RevokePermission(revoke) => Change::RevokePermission {
            role: revoke.role,
            key: revoke.key,
            range_end: revoke.range_end,
        },
    })
}
