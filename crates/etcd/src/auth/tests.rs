//! Calls on a machine in memory: what is answered, to whom.

use bytes::Bytes;
use quorate_api::authpb::permission::Type;
use quorate_api::authpb::{Permission, UserAddOptions};
use quorate_api::etcdserverpb::auth_server::Auth as _;
use quorate_api::etcdserverpb::cluster_server::Cluster as _;
use quorate_api::etcdserverpb::kv_server::Kv as _;
use quorate_api::etcdserverpb::maintenance_server::Maintenance as _;
use quorate_api::etcdserverpb::{
    AlarmRequest, CompactionRequest, DefragmentRequest, HashKvRequest, HashRequest, MemberListRequest,
    MemberRemoveRequest, MoveLeaderRequest, RangeResponse, SnapshotRequest, StatusRequest, TxnRequest,
};
use quorate_replica::Unavailable;
use tonic::Code;

use super::testing::{by, enable};
use super::*;
use crate::cluster::Cluster;
use crate::convert::member::Scheme;
use crate::kv::Kv;
use crate::maintenance::Maintenance;
use crate::testing::{Memory, delete_request, get_request, is_absent, put, put_request, txn};

fn services() -> (Auth<Memory>, Kv<Memory>) {
    let (memory, guard) = (Memory::new(), Guard::new());
    let auth = Auth::new(memory.clone(), guard.clone(), TaskTracker::new());
    (auth, Kv(memory, guard))
}

/// What an error is to a client.
fn told<T>(answer: Answer<T>) -> (Code, String) {
    let status = answer.map(drop).expect_err("an error");
    (status.code(), status.message().to_owned())
}

fn error(code: Code, text: &str) -> (Code, String) {
    (code, format!("etcdserver: {text}"))
}

fn denied() -> (Code, String) {
    error(Code::PermissionDenied, "permission denied")
}

fn add(name: &str, password: &str) -> AuthUserAddRequest {
    AuthUserAddRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        ..AuthUserAddRequest::default()
    }
}

fn grant(user: &str, role: &str) -> AuthUserGrantRoleRequest {
    AuthUserGrantRoleRequest {
        user: user.to_owned(),
        role: role.to_owned(),
    }
}

async fn log_in(auth: &Auth<Memory>, name: &str, password: &str) -> Answer<AuthenticateResponse> {
    let request = AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    auth.authenticate(Request::new(request)).await
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer {token}").parse().expect("a token");
    request.metadata_mut().insert("authorization", token);
    request
}

#[tokio::test]
async fn a_password_is_a_token_is_a_user() {
    let (auth, kv) = services();
    assert_eq!(
        told(log_in(&auth, "root", "secret").await),
        error(Code::FailedPrecondition, "authentication is not enabled")
    );
    assert_eq!(
        told(auth.auth_enable(Request::new(AuthEnableRequest {})).await),
        error(Code::FailedPrecondition, "root user does not exist")
    );
    let added = auth.user_add(Request::new(add("root", "secret"))).await;
    let header = added.expect("a user").into_inner().header;
    assert_eq!(header.map(|header| header.revision), Some(1));
    let granted = auth.user_grant_role(Request::new(grant("root", "root"))).await;
    granted.expect("a role");
    let enabled = auth.auth_enable(Request::new(AuthEnableRequest {})).await;
    enabled.expect("everything is there");

    assert_eq!(
        told(kv.put(Request::new(put_request("a", "1"))).await),
        error(Code::InvalidArgument, "user name is empty")
    );
    for (name, password) in [("root", "wrong"), ("root", ""), ("none", "secret"), ("", "")] {
        assert_eq!(
            told(log_in(&auth, name, password).await),
            error(
                Code::InvalidArgument,
                "authentication failed, invalid user ID or password"
            ),
            "{name} {password}"
        );
    }
    let token = log_in(&auth, "root", "secret")
        .await
        .expect("a login")
        .into_inner()
        .token;
    kv.put(with(&token, put_request("a", "1")))
        .await
        .expect("root may");
    let invalid = error(Code::Unauthenticated, "invalid auth token");
    assert_eq!(told(kv.put(with("00", put_request("a", "1"))).await), invalid);
    assert_eq!(told(kv.range(with("zz", get_request("a"))).await), invalid);

    let no_password = AuthUserAddRequest {
        options: Some(UserAddOptions { no_password: true }),
        ..add("bare", "x")
    };
    auth.user_add(with(&token, no_password)).await.expect("a user");
    assert_eq!(
        told(log_in(&auth, "bare", "x").await),
        (
            Code::Unknown,
            "auth: authentication failed, password was given for no password user".to_owned()
        )
    );

    let change = |password: &str| AuthUserChangePasswordRequest {
        name: "root".to_owned(),
        password: password.to_owned(),
        ..AuthUserChangePasswordRequest::default()
    };
    let changed = auth.user_change_password(with(&token, change("new"))).await;
    changed.expect("root may");
    assert_eq!(
        told(kv.put(with(&token, put_request("a", "2"))).await),
        invalid,
        "it was given for the old password"
    );
    assert!(log_in(&auth, "root", "secret").await.is_err());
    let token = log_in(&auth, "root", "new")
        .await
        .expect("a login")
        .into_inner()
        .token;
    let changed = auth.user_change_password(with(&token, change(""))).await;
    changed.expect("root may");
    for password in ["", "new"] {
        assert!(
            log_in(&auth, "root", password).await.is_err(),
            "none fits any more"
        );
    }
}

#[tokio::test]
async fn keys_are_for_who_may() {
    let (auth, kv) = services();
    auth.node.put(&[("a", "1"), ("d", "1"), ("z", "1")]);
    enable(&auth.node);
    let rows = |answer: Answer<RangeResponse>| answer.map(|answer| answer.into_inner().count).map_err(|_| ());
    let to = |key: &str, end: &'static str| {
        let mut request = get_request(key);
        request.range_end = Bytes::from(end);
        request
    };
    let reads = [
        ("one", to("a", ""), Ok(1)),
        ("one", to("a", "m"), Ok(2)),
        ("one", to("b", "d"), Ok(0)),
        ("one", to("z", ""), Err(())),
        ("one", to("a", "n"), Err(())),
        ("one", to("a", "\0"), Err(())),
        ("root", to("a", "\0"), Ok(3)),
        ("none", to("a", ""), Err(())),
        ("", to("a", ""), Err(())),
    ];
    for (user, mut request, want) in reads {
        for serializable in [false, true] {
            request.serializable = serializable;
            let answer = kv.range(by(user, request.clone())).await;
            assert_eq!(rows(answer), want, "{user}: {request:?}");
        }
    }
    let nested = |key: &str| TxnRequest {
        success: vec![txn(&[], vec![put(key)], vec![])],
        ..TxnRequest::default()
    };
    let mut seeing = put_request("b", "1");
    seeing.prev_kv = true;
    assert!(kv.put(by("one", seeing.clone())).await.is_ok());
    seeing.key = "d".into();
    assert_eq!(told(kv.put(by("one", seeing)).await), denied());
    assert!(kv.txn(by("one", nested("b"))).await.is_ok());
    assert_eq!(told(kv.txn(by("one", nested("d"))).await), denied());
    let compares = |key: &str| TxnRequest {
        compare: vec![is_absent(key)],
        ..TxnRequest::default()
    };
    assert!(kv.txn(by("one", compares("d"))).await.is_ok());
    assert_eq!(told(kv.txn(by("one", compares("z"))).await), denied());
    assert!(kv.delete_range(by("one", delete_request("a", "c"))).await.is_ok());
    let deletes = kv.delete_range(by("one", delete_request("a", "d"))).await;
    assert_eq!(told(deletes), denied());
    let compact = CompactionRequest {
        revision: 2,
        physical: false,
    };
    assert_eq!(told(kv.compact(by("one", compact)).await), denied());
    assert!(kv.compact(by("root", compact)).await.is_ok());
}

#[tokio::test]
async fn users_and_roles_are_for_root_and_everybody_sees_their_own() {
    let (auth, _) = services();
    enable(&auth.node);
    let named = str::to_owned;
    let get = |name| AuthUserGetRequest { name: named(name) };
    let roles = |answer: Answer<AuthUserGetResponse>| answer.map(|answer| answer.into_inner().roles);
    let role = |role| AuthRoleGetRequest { role: named(role) };
    assert_eq!(
        roles(auth.user_get(by("one", get("one"))).await).ok(),
        Some(vec![named("r")])
    );
    assert_eq!(told(auth.user_get(by("one", get("root"))).await), denied());
    assert_eq!(
        told(auth.user_get(by("root", get("none"))).await),
        error(Code::FailedPrecondition, "user name not found")
    );
    assert_eq!(
        told(auth.role_get(by("root", role("none"))).await),
        error(Code::FailedPrecondition, "role name not found")
    );
    let perm = auth
        .role_get(by("one", role("r")))
        .await
        .expect("its own")
        .into_inner()
        .perm;
    assert_eq!(perm.len(), 2);
    assert_eq!(told(auth.role_get(by("one", role("root"))).await), denied());
    assert_eq!(
        told(auth.user_list(by("one", AuthUserListRequest {})).await),
        denied()
    );
    assert_eq!(
        told(auth.role_list(by("one", AuthRoleListRequest {})).await),
        denied()
    );
    assert_eq!(
        told(auth.auth_status(by("one", AuthStatusRequest {})).await),
        denied()
    );
    let users = auth.user_list(by("root", AuthUserListRequest {})).await;
    assert_eq!(users.expect("root may").into_inner().users, ["one", "root"]);
    let status = auth.auth_status(by("root", AuthStatusRequest {})).await;
    let status = status.expect("root may").into_inner();
    assert_eq!((status.enabled, status.auth_revision), (true, 8));
    let request = AuthRoleGrantPermissionRequest {
        name: named("r"),
        perm: None,
    };
    assert_eq!(
        told(auth.role_grant_permission(by("root", request.clone())).await),
        error(Code::InvalidArgument, "permission not given")
    );
    let request = AuthRoleGrantPermissionRequest {
        perm: Some(Permission {
            perm_type: Type::Read.into(),
            key: Bytes::from_static(b"z"),
            range_end: Bytes::new(),
        }),
        ..request
    };
    assert_eq!(
        told(auth.role_grant_permission(by("one", request.clone())).await),
        denied()
    );
    assert!(auth.role_grant_permission(by("root", request)).await.is_ok());
    let perm = auth
        .role_get(by("one", role("r")))
        .await
        .expect("its own")
        .into_inner()
        .perm;
    assert_eq!(perm.len(), 3);
    let disabled = auth.auth_disable(by("one", AuthDisableRequest {})).await;
    assert_eq!(told(disabled), denied());
    assert!(auth.auth_disable(by("root", AuthDisableRequest {})).await.is_ok());
    assert!(auth.user_list(Request::new(AuthUserListRequest {})).await.is_ok());
}

#[tokio::test]
async fn operators_are_root() {
    let (auth, _) = services();
    enable(&auth.node);
    let maintenance = Maintenance::new(auth.node.clone(), Guard::new());
    let cluster = Cluster {
        node: auth.node.clone(),
        guard: Guard::new(),
        scheme: Scheme::Http,
    };
    let bare = |text: &str| (Code::Unknown, format!("auth: {text}"));
    for (user, want) in [
        ("one", bare("permission denied")),
        ("", bare("user name is empty")),
    ] {
        let hash = by(user, HashKvRequest { revision: 0 });
        assert_eq!(told(maintenance.hash_kv(hash).await), want);
        assert_eq!(told(maintenance.hash(by(user, HashRequest {})).await), want);
        assert_eq!(
            told(maintenance.defragment(by(user, DefragmentRequest {})).await),
            want
        );
        assert_eq!(
            told(maintenance.snapshot(by(user, SnapshotRequest {})).await),
            want
        );
    }
    let to = MoveLeaderRequest { target_id: 1 };
    assert_eq!(told(maintenance.move_leader(by("one", to)).await), denied());
    let removal = MemberRemoveRequest { id: 404 };
    assert_eq!(told(cluster.member_remove(by("one", removal)).await), denied());
    let unknown = error(Code::NotFound, "member not found");
    assert_eq!(told(cluster.member_remove(by("root", removal)).await), unknown);
    for (user, want) in [("", false), ("one", true), ("root", true)] {
        let status = maintenance.status(by(user, StatusRequest {})).await;
        assert_eq!(status.is_ok(), want, "{user}");
        let alarms = maintenance.alarm(by(user, AlarmRequest::default())).await;
        assert_eq!(alarms.is_ok(), want, "{user}");
        let members = cluster.member_list(by(user, MemberListRequest::default())).await;
        assert_eq!(members.is_ok(), want, "{user}");
    }
}

#[tokio::test]
async fn what_changes_under_way_is_judged_again() {
    let (auth, kv) = services();
    enable(&auth.node);
    // The token is of a moment before authentication was enabled anew.
    let root = KvCaller {
        user: "root".to_owned(),
        revision: 1,
    };
    let secret = auth.node.image().kv_auth().secret().cloned().expect("enabled");
    let token = auth.guard.token(&secret, &root);
    assert_eq!(
        told(kv.put(with(&token, put_request("a", "1"))).await),
        error(Code::Unauthenticated, "invalid auth token")
    );
    auth.node.breaks(Unavailable::TimedOut);
    assert_eq!(
        told(kv.put(with("00", put_request("a", "1"))).await),
        error(Code::Unauthenticated, "invalid auth token"),
        "nobody knows better"
    );
}
