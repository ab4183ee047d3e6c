//! etcd's users, at every replica: what is decided at one counts at all others at once, and outlives a leader.

use quorate_api::authpb::Permission;
use quorate_api::authpb::permission::Type;
use quorate_api::etcdserverpb::auth_client::AuthClient;
use quorate_api::etcdserverpb::kv_client::KvClient;
use quorate_api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthStatusRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
    AuthenticateRequest, PutRequest, RangeRequest,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::cluster::{Cluster, soon};

struct Clients {
    auth: Vec<AuthClient<Channel>>,
    kv: Vec<KvClient<Channel>>,
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("token", token.parse().unwrap());
    request
}

impl Clients {
    fn of(cluster: &Cluster, size: usize) -> Self {
        let channels = || (0..size).map(|number| cluster.channel(number));
        Self {
            auth: channels().map(AuthClient::new).collect(),
            kv: channels().map(KvClient::new).collect(),
        }
    }

    async fn add(&mut self, at: usize, name: &str, role: &str) {
        let add = AuthUserAddRequest {
            name: name.to_owned(),
            password: format!("{name}'s"),
            ..AuthUserAddRequest::default()
        };
        soon(self.auth[at].user_add(add)).await.unwrap();
        let grant = AuthUserGrantRoleRequest {
            user: name.to_owned(),
            role: role.to_owned(),
        };
        soon(self.auth[at].user_grant_role(grant)).await.unwrap();
    }

    async fn log_in(&mut self, at: usize, name: &str, password: &str) -> Result<String, Status> {
        let request = AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let answer = soon(self.auth[at].authenticate(request)).await?;
        Ok(answer.into_inner().token)
    }

    async fn put(&mut self, at: usize, token: &str) -> Result<(), Code> {
        let request = PutRequest {
            key: "k".into(),
            ..PutRequest::default()
        };
        let answer = soon(self.kv[at].put(with(token, request))).await;
        answer.map(drop).map_err(|status| status.code())
    }

    async fn get(&mut self, at: usize, token: &str, serializable: bool) -> Result<(), Code> {
        let request = RangeRequest {
            key: "k".into(),
            serializable,
            ..RangeRequest::default()
        };
        let answer = soon(self.kv[at].range(with(token, request))).await;
        answer.map(drop).map_err(|status| status.code())
    }

    /// What every replica says to a token's write, read and old read.
    async fn everywhere(&mut self, token: &str, want: Result<(), Code>) {
        for at in 0..self.kv.len() {
            assert_eq!(self.put(at, token).await, want, "put at {at}");
            assert_eq!(self.get(at, token, false).await, want, "get at {at}");
            assert_eq!(self.get(at, token, true).await, want, "serializable get at {at}");
        }
    }
}

/// Users root and one; one may read and write k.
async fn enabled(cluster: &Cluster, size: usize) -> Clients {
    cluster.settled().await;
    let mut clients = Clients::of(cluster, size);
    let role = AuthRoleAddRequest { name: "r".to_owned() };
    soon(clients.auth[0].role_add(role)).await.unwrap();
    let permission = AuthRoleGrantPermissionRequest {
        name: "r".to_owned(),
        perm: Some(Permission {
            perm_type: Type::Readwrite.into(),
            key: "k".into(),
            ..Permission::default()
        }),
    };
    soon(clients.auth[1].role_grant_permission(permission))
        .await
        .unwrap();
    clients.add(2, "root", "root").await;
    clients.add(0, "one", "r").await;
    soon(clients.auth[1].auth_enable(AuthEnableRequest {}))
        .await
        .unwrap();
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_decided_at_one_replica_counts_at_all() {
    let cluster = Cluster::start(3).await;
    let mut clients = enabled(&cluster, 3).await;
    for at in 0..3 {
        let status = soon(clients.auth[at].auth_status(AuthStatusRequest {})).await;
        assert_eq!(status.unwrap_err().message(), "etcdserver: user name is empty");
        assert_eq!(clients.put(at, "00").await, Err(Code::Unauthenticated));
    }
    let root = clients.log_in(0, "root", "root's").await.unwrap();
    for at in 0..3 {
        let one = clients.log_in(at, "one", "one's").await.unwrap();
        clients.everywhere(&one, Ok(())).await;
    }
    let one = clients.log_in(0, "one", "one's").await.unwrap();
    for at in 0..3 {
        let revoke = AuthUserRevokeRoleRequest {
            name: "one".to_owned(),
            role: "r".to_owned(),
        };
        let auth = &mut clients.auth[at];
        soon(auth.user_revoke_role(with(&root, revoke))).await.unwrap();
        for other in (0..3).rev() {
            assert_eq!(clients.put(other, &one).await, Err(Code::PermissionDenied));
            assert_eq!(clients.get(other, &one, false).await, Err(Code::PermissionDenied));
        }
        let grant = AuthUserGrantRoleRequest {
            user: "one".to_owned(),
            role: "r".to_owned(),
        };
        let auth = &mut clients.auth[at];
        soon(auth.user_grant_role(with(&root, grant))).await.unwrap();
        clients.everywhere(&one, Ok(())).await;
    }
    let change = AuthUserChangePasswordRequest {
        name: "one".to_owned(),
        password: "new".to_owned(),
        ..AuthUserChangePasswordRequest::default()
    };
    let changed = clients.auth[2].user_change_password(with(&root, change));
    soon(changed).await.unwrap();
    for at in 0..3 {
        assert_eq!(clients.put(at, &one).await, Err(Code::Unauthenticated));
        assert!(clients.log_in(at, "one", "one's").await.is_err());
        assert!(clients.log_in(at, "one", "new").await.is_ok());
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_outlives_the_replica_that_gave_it() {
    let mut cluster = Cluster::start(3).await;
    let mut clients = enabled(&cluster, 3).await;
    let leader = cluster.leader().await;
    let one = clients.log_in(leader, "one", "one's").await.unwrap();
    cluster.stop_one(leader).await;
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    for &at in &others {
        assert_eq!(clients.put(at, &one).await, Ok(()));
        assert_eq!(clients.get(at, &one, false).await, Ok(()));
    }
    cluster.stop().await;
}
