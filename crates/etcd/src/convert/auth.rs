//! Permissions to and from etcd's messages.

use quorate_api::authpb::Permission;
use quorate_api::authpb::permission::Type;
use quorate_api::etcdserverpb::{AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest};
use quorate_replica::machine::{KvAccess, KvAuthChange, KvAuthRule, KvPermission};

/// What a role may. A kind of access that there is not is no management of users; etcd keeps it, and it permits nothing.
pub(crate) fn grant_permission(request: &AuthRoleGrantPermissionRequest) -> Result<KvAuthChange, KvAuthRule> {
    let permission = match &request.perm {
        None => None,
        Some(perm) => Some(KvPermission {
            access: match Type::try_from(perm.perm_type) {
                Ok(Type::Read) => KvAccess::Read,
                Ok(Type::Write) => KvAccess::Write,
                Ok(Type::Readwrite) => KvAccess::ReadWrite,
                Err(_) => return Err(KvAuthRule::InvalidManagement),
            },
            key: perm.key.clone(),
            range_end: perm.range_end.clone(),
        }),
    };
    Ok(KvAuthChange::GrantPermission {
        role: request.name.clone(),
        permission,
    })
}

/// What a role may no longer.
pub(crate) fn revoke_permission(request: &AuthRoleRevokePermissionRequest) -> KvAuthChange {
    KvAuthChange::RevokePermission {
        role: request.role.clone(),
        key: request.key.clone(),
        range_end: request.range_end.clone(),
    }
}

/// The permissions of a role, as they are written down. Root's may do everything without any.
pub(crate) fn permissions(permissions: &[KvPermission]) -> Vec<Permission> {
    let permission = |permission: &KvPermission| Permission {
        perm_type: match permission.access {
            KvAccess::Read => Type::Read,
            KvAccess::Write => Type::Write,
            KvAccess::ReadWrite => Type::Readwrite,
        }
        .into(),
        key: permission.key.clone(),
        range_end: permission.range_end.clone(),
    };
    permissions.iter().map(permission).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_listed() {
        for perm_type in [Type::Read, Type::Write, Type::Readwrite] {
            let perm = Permission {
                perm_type: perm_type.into(),
                key: "k".into(),
                range_end: "l".into(),
            };
            let request = AuthRoleGrantPermissionRequest {
                name: "r".to_owned(),
                perm: Some(perm.clone()),
            };
            let Ok(KvAuthChange::GrantPermission {
                role,
                permission: Some(permission),
            }) = grant_permission(&request)
            else {
                panic!("a permission");
            };
            assert_eq!((&role[..], permissions(&[permission])), ("r", vec![perm]));
        }
    }

    #[test]
    fn an_unknown_access_is_none() {
        let request = AuthRoleGrantPermissionRequest {
            name: "r".to_owned(),
            perm: Some(Permission {
                perm_type: 3,
                ..Permission::default()
            }),
        };
        assert_eq!(grant_permission(&request), Err(KvAuthRule::InvalidManagement));
    }
}
