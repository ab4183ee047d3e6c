//! `Auth`: users, roles, and what each may do. Off until it is enabled, as in etcd.
//!
//! Promises: what may be done stands with the machine, in etcd's words; who does it is told by a token ([`token`]) that every
//! replica accepts; passwords are derived from before anything is proposed ([`password`]) and never written or logged. What is
//! asked of users and roles is answered from the state that judged the question. Left out on purpose: JSON web tokens and the
//! common names of certificates. A change of users or roles moves neither the keys' revision nor the watches that go on:
//! those were judged when they were created, as in etcd.
//!
//! Where things are: `guard` is what the other services ask, `token` and `seen` are what callers show.

mod guard;
mod password;
mod seen;
#[cfg(test)]
pub(crate) mod testing;
mod token;

use quorate_api::etcdserverpb::auth_server;
use quorate_api::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest,
    AuthRoleGetResponse, AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse,
    AuthRoleListRequest, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest,
    AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
    AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
    AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
    ResponseHeader,
};
use quorate_host::entropy;
use quorate_replica::machine::{
    Command, Image, KvAuthChange, KvAuthRule, KvCaller, KvNeed, KvPassword, KvSecret, Reply,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::convert::auth as convert;
use crate::node::Node;
use crate::{deadline, error};
pub(crate) use guard::{Credentials, Denied, Guard};
use password::Passwords;

/// What a call ends with.
type Answer<T> = Result<Response<T>, Status>;

pub(crate) struct Auth<N> {
    node: N,
    guard: Guard,
    passwords: Passwords,
}

impl<N: Node> Auth<N> {
    /// What is derived from passwords is left to `tasks`.
    pub(crate) fn new(node: N, guard: Guard, tasks: TaskTracker) -> Self {
        Self {
            node,
            guard,
            passwords: Passwords::new(tasks),
        }
    }

    /// Makes a change on behalf of whoever calls.
    async fn change(
        &self,
        shown: &Credentials,
        change: KvAuthChange,
        deadline: Instant,
    ) -> Result<Option<ResponseHeader>, Status> {
        let command = Command::KvAuth(change);
        match self.guard.decide(&self.node, shown, command, deadline).await? {
            Reply::KvAuthChanged { revision } => Ok(Some(self.node.stamp().header(revision))),
            _ => Err(error::unexpected()),
        }
    }

    /// The same, for a change that takes nothing but the message.
    async fn changed(
        &self,
        metadata: &MetadataMap,
        change: KvAuthChange,
    ) -> Result<Option<ResponseHeader>, Status> {
        let (deadline, shown) = (deadline::of(metadata), Credentials::of(metadata));
        self.change(&shown, change, deadline).await
    }

    /// A state of now, and that whoever calls may look at it.
    async fn look(
        &self,
        metadata: &MetadataMap,
        need: &KvNeed<'_>,
    ) -> Result<(Option<ResponseHeader>, Image), Status> {
        let (deadline, shown) = (deadline::of(metadata), Credentials::of(metadata));
        let image = self.now(deadline).await?;
        self.guard.judge(&image, &shown, need).map_err(error::denied)?;
        Ok((Some(self.header(&image)), image))
    }

    async fn now(&self, deadline: Instant) -> Result<Image, Status> {
        let image = self.node.read(deadline).await;
        image.map_err(|unavailable| error::unavailable(&unavailable))
    }

    fn header(&self, image: &Image) -> ResponseHeader {
        self.node.stamp().header(image.kv_revision())
    }

    /// What is to be kept of a password, for who may change one: whoever may not is not worked for.
    async fn derive(
        &self,
        shown: &Credentials,
        password: String,
        deadline: Instant,
    ) -> Result<KvPassword, Status> {
        let required = self.guard.require(&self.node, shown, &KvNeed::Root, deadline);
        required.await.map_err(error::denied)?;
        let derived = self.passwords.derive(password, deadline).await;
        derived.map_err(|_| error::too_many_requests())
    }
}

#[tonic::async_trait]
impl<N: Node> auth_server::Auth for Auth<N> {
    async fn auth_enable(&self, request: Request<AuthEnableRequest>) -> Answer<AuthEnableResponse> {
        let secret = [entropy::random_u128(), entropy::random_u128()].map(u128::to_be_bytes);
        let secret = KvSecret(secret.concat().into());
        let change = KvAuthChange::Enable { secret };
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthEnableResponse { header }))
    }

    async fn auth_disable(&self, request: Request<AuthDisableRequest>) -> Answer<AuthDisableResponse> {
        let header = self.changed(request.metadata(), KvAuthChange::Disable).await?;
        Ok(Response::new(AuthDisableResponse { header }))
    }

    async fn auth_status(&self, request: Request<AuthStatusRequest>) -> Answer<AuthStatusResponse> {
        let (header, image) = self.look(request.metadata(), &KvNeed::Root).await?;
        let auth = image.kv_auth();
        Ok(Response::new(AuthStatusResponse {
            header,
            enabled: auth.is_on(),
            auth_revision: auth.revision(),
        }))
    }

    async fn authenticate(&self, request: Request<AuthenticateRequest>) -> Answer<AuthenticateResponse> {
        let deadline = deadline::of(request.metadata());
        let AuthenticateRequest { name, password } = request.into_inner();
        let image = self.now(deadline).await?;
        let auth = image.kv_auth();
        let (true, Some(secret)) = (auth.is_on(), auth.secret()) else {
            return Err(error::auth_not_enabled());
        };
        let user = auth.user(&name).ok_or_else(error::auth_failed)?;
        if user.no_password {
            return Err(error::no_password_user());
        }
        let kept = user.password.clone().ok_or_else(error::auth_failed)?;
        let fits = self.passwords.fits(password, kept, deadline).await;
        if !fits.map_err(|_| error::too_many_requests())? {
            return Err(error::auth_failed());
        }
        // Of the state that had the password: when it was changed meanwhile, the token is worth nothing.
        let by = KvCaller {
            revision: auth.revision(),
            user: name,
        };
        Ok(Response::new(AuthenticateResponse {
            header: Some(self.header(&image)),
            token: self.guard.token(secret, &by),
        }))
    }

    async fn user_add(&self, request: Request<AuthUserAddRequest>) -> Answer<AuthUserAddResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let request = request.into_inner();
        let no_password = request.options.is_some_and(|options| options.no_password);
        let password = match no_password {
            true => None,
            false => Some(self.derive(&shown, request.password, deadline).await?),
        };
        let change = KvAuthChange::AddUser {
            name: request.name,
            no_password,
            password,
        };
        let header = self.change(&shown, change, deadline).await?;
        Ok(Response::new(AuthUserAddResponse { header }))
    }

    async fn user_get(&self, request: Request<AuthUserGetRequest>) -> Answer<AuthUserGetResponse> {
        let name = &request.get_ref().name;
        let (header, image) = self.look(request.metadata(), &KvNeed::User(name)).await?;
        let user = image.kv_auth().user(name);
        let user = user.ok_or_else(|| error::rule(KvAuthRule::UserNotFound))?;
        let roles = user.roles.clone();
        Ok(Response::new(AuthUserGetResponse { header, roles }))
    }

    async fn user_list(&self, request: Request<AuthUserListRequest>) -> Answer<AuthUserListResponse> {
        let (header, image) = self.look(request.metadata(), &KvNeed::Root).await?;
        let users = image.kv_auth().users().map(|(name, _)| name.to_owned()).collect();
        Ok(Response::new(AuthUserListResponse { header, users }))
    }

    async fn user_delete(&self, request: Request<AuthUserDeleteRequest>) -> Answer<AuthUserDeleteResponse> {
        let name = request.get_ref().name.clone();
        let change = KvAuthChange::DeleteUser { name };
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Answer<AuthUserChangePasswordResponse> {
        let deadline = deadline::of(request.metadata());
        let shown = Credentials::of(request.metadata());
        let AuthUserChangePasswordRequest { name, password, .. } = request.into_inner();
        // As in etcd, none fits from then on.
        let password = match password.is_empty() {
            true => None,
            false => Some(self.derive(&shown, password, deadline).await?),
        };
        let change = KvAuthChange::ChangePassword { name, password };
        let header = self.change(&shown, change, deadline).await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Answer<AuthUserGrantRoleResponse> {
        let AuthUserGrantRoleRequest { user, role } = request.get_ref().clone();
        let change = KvAuthChange::GrantRole { user, role };
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Answer<AuthUserRevokeRoleResponse> {
        let AuthUserRevokeRoleRequest { name: user, role } = request.get_ref().clone();
        let change = KvAuthChange::RevokeRole { user, role };
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(&self, request: Request<AuthRoleAddRequest>) -> Answer<AuthRoleAddResponse> {
        let name = request.get_ref().name.clone();
        let change = KvAuthChange::AddRole { name };
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthRoleAddResponse { header }))
    }

    async fn role_get(&self, request: Request<AuthRoleGetRequest>) -> Answer<AuthRoleGetResponse> {
        let role = &request.get_ref().role;
        let (header, image) = self.look(request.metadata(), &KvNeed::Role(role)).await?;
        let permissions = image.kv_auth().role(role);
        let permissions = permissions.ok_or_else(|| error::rule(KvAuthRule::RoleNotFound))?;
        let perm = convert::permissions(permissions);
        Ok(Response::new(AuthRoleGetResponse { header, perm }))
    }

    async fn role_list(&self, request: Request<AuthRoleListRequest>) -> Answer<AuthRoleListResponse> {
        let (header, image) = self.look(request.metadata(), &KvNeed::Root).await?;
        let roles = image.kv_auth().roles().map(str::to_owned).collect();
        Ok(Response::new(AuthRoleListResponse { header, roles }))
    }

    async fn role_delete(&self, request: Request<AuthRoleDeleteRequest>) -> Answer<AuthRoleDeleteResponse> {
        let name = request.get_ref().role.clone();
        let change = KvAuthChange::DeleteRole { name };
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Answer<AuthRoleGrantPermissionResponse> {
        let change = convert::grant_permission(request.get_ref()).map_err(error::rule)?;
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Answer<AuthRoleRevokePermissionResponse> {
        let change = convert::revoke_permission(request.get_ref());
        let header = self.changed(request.metadata(), change).await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header }))
    }
}

#[cfg(test)]
mod tests;
