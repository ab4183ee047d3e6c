//! Permissions to and from etcd's messages.

use bytes::Bytes;
use quorate_api::authpb::Permission;
use quorate_api::authpb::permission::Type;
use quorate_api::etcdserverpb::{AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest};
use quorate_replica::machine::{KV_ROOT, KvAccess, KvAuthChange, KvAuthRule, KvPermission};

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

/// The permissions of a role. Of root's they are everything, whatever is written down.
pub(crate) fn permissions(role: &str, permissions: &[KvPermission]) -> Vec<Permission> {
    if role == KV_ROOT {
        return vec![Permission {
            perm_type: Type::Readwrite.into(),
            key: Bytes::new(),
            range_end: Bytes::from_static(&[0]),
        }];
    }
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
            assert_eq!(permissions(&role, &[permission]), [perm]);
        }
    }

    #[test]
    fn root_may_do_everything_and_an_unknown_access_is_none() {
        let all = permissions(KV_ROOT, &[]);
        let shown: Vec<_> = all
            .iter()
            .map(|perm| (perm.perm_type, &perm.key[..], &perm.range_end[..]))
            .collect();
        assert_eq!(shown, [(2, &b""[..], &b"\0"[..])]);
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
