//! Who calls, and whether they may.
//!
//! Promises: while authentication is off, a call costs a look at one flag more. While it is on, a read is judged on the very
//! state that it is answered from, and a write both here, which spares the log what would be refused, and where it is applied,
//! which cannot be raced. What only an old state refuses is asked again of a new one, so a login, a grant or a password that
//! was acknowledged at one replica counts at all others at once; in etcd it may take another moment. Left out on purpose: the
//! common name of a client's certificate, which etcd takes for a user when it is told to: it does not get here through the
//! connection's layers.

use std::sync::Arc;

use quorate_host::{Clock, SystemClock};
use quorate_replica::machine::{Command, Image, KvAuthRule, KvCaller, KvNeed, KvSecret, Refusal, Reply};
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::seen::Seen;
use super::token;
use crate::error;
use crate::node::{self, Node};

/// Proposals of one call: a further one follows when what the user had proved was out of date where it was applied.
const ATTEMPTS: usize = 3;
/// In the head of a call, the first that is there counts. The second is what HTTP gateways pass on.
const TOKEN_KEYS: [&str; 2] = ["token", "authorization"];
/// Whatever stands before a token in such a head.
const BEARER: &str = "Bearer ";

/// What a call shows of its caller. It is shown to nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials(Option<Box<str>>);

impl Credentials {
    /// Out of the head of a call.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        let token = TOKEN_KEYS.iter().find_map(|key| metadata.get(*key));
        let token = token.and_then(|token| token.to_str().ok());
        Self(token.map(|token| token.strip_prefix(BEARER).unwrap_or(token).into()))
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Its token is none, or no longer.
    Token,
    /// Its user may not, or there is none.
    Rule(KvAuthRule),
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub(crate) struct Guard {
    seen: Arc<Seen>,
    clock: Arc<dyn Clock>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        Self::with(Arc::new(SystemClock))
    }

    pub(super) fn with(clock: Arc<dyn Clock>) -> Self {
        Self {
            seen: Arc::default(),
            clock,
        }
    }

    /// A token for a user that has proved to be one.
    pub(super) fn token(&self, secret: &KvSecret, by: &KvCaller) -> String {
        token::give(secret, by, self.clock.unix_ms())
    }

    /// Who calls, as a state knows them; `None` while authentication is off there, or when nobody says so.
    fn caller(&self, image: &Image, shown: &Credentials) -> Result<Option<KvCaller>, Denied> {
        let auth = image.kv_auth();
        let (true, Some(text)) = (auth.is_on(), &shown.0) else {
            return Ok(None);
        };
        let token = auth.secret().and_then(|secret| token::read(secret, text));
        let token = token.filter(|token| auth.standing(&token.by).is_some());
        let good = token.filter(|token| self.seen.is_good(token, self.clock.unix_ms(), Instant::now()));
        good.map(|token| Some(token.by)).ok_or(Denied::Token)
    }

    /// Whether a call may do something, judged on this state; and who calls.
    pub(crate) fn judge(
        &self,
        image: &Image,
        shown: &Credentials,
        need: &KvNeed<'_>,
    ) -> Result<Option<KvCaller>, Denied> {
        if !image.kv_auth().is_on() {
            return Ok(None);
        }
        let by = self.caller(image, shown)?;
        image.kv_permits(by.as_ref(), need).map_err(Denied::Rule)?;
        Ok(by)
    }

    /// The same, judged on a newer state when this one says no; gives the state that says yes.
    pub(crate) async fn admit<N: Node>(
        &self,
        node: &N,
        image: Image,
        shown: &Credentials,
        need: &KvNeed<'_>,
        deadline: Instant,
    ) -> Result<(Image, Option<KvCaller>), Denied> {
        let denied = match self.judge(&image, shown, need) {
            Ok(by) => return Ok((image, by)),
            Err(denied) => denied,
        };
        // Without a leader there is no newer one.
        let Ok(newer) = node.read(deadline).await else {
            return Err(denied);
        };
        let by = self.judge(&newer, shown, need)?;
        Ok((newer, by))
    }

    /// Whether a call may do what is not done on a state of the keys.
    pub(crate) async fn require<N: Node>(
        &self,
        node: &N,
        shown: &Credentials,
        need: &KvNeed<'_>,
        deadline: Instant,
    ) -> Result<(), Denied> {
        if !node.auth_is_on() {
            return Ok(());
        }
        // Not part of a group, or stopped: whatever is asked for says so.
        let Ok(image) = node.read_stale() else {
            return Ok(());
        };
        self.admit(node, image, shown, need, deadline).await.map(drop)
    }

    /// The state to answer a call from, which may read it.
    pub(crate) async fn read<N: Node>(
        &self,
        node: &N,
        image: Image,
        shown: &Credentials,
        need: &KvNeed<'_>,
        deadline: Instant,
    ) -> Result<Image, Status> {
        if !image.kv_auth().is_on() {
            return Ok(image);
        }
        let admitted = self.admit(node, image, shown, need, deadline).await;
        admitted.map(|(image, _)| image).map_err(error::denied)
    }

    /// Proposes a command on behalf of whoever calls, and waits for what the cluster decides.
    pub(crate) async fn decide<N: Node>(
        &self,
        node: &N,
        shown: &Credentials,
        command: Command,
        deadline: Instant,
    ) -> Result<Reply, Status> {
        if !node.auth_is_on() && shown.0.is_none() {
            return node::decide(node, command, deadline).await;
        }
        let unavailable = |unavailable| error::unavailable(&unavailable);
        let mut image = node.read_stale().map_err(unavailable)?;
        for _ in 1..ATTEMPTS {
            let proposal = self.proposal(node, image, shown, &command, deadline).await?;
            match node.propose(proposal, deadline).await.map_err(unavailable)? {
                Ok(reply) => return Ok(reply),
                Err(Refusal::KvAuth {
                    rule: KvAuthRule::OldRevision | KvAuthRule::UserEmpty,
                }) => image = node.read(deadline).await.map_err(unavailable)?,
                Err(refusal) => return Err(error::refused(&refusal)),
            }
        }
        let proposal = self.proposal(node, image, shown, &command, deadline).await?;
        node::decide(node, proposal, deadline).await
    }

    /// A command with whoever calls.
    async fn proposal<N: Node>(
        &self,
        node: &N,
        image: Image,
        shown: &Credentials,
        command: &Command,
        deadline: Instant,
    ) -> Result<Command, Status> {
        let Some(need) = command.need() else {
            return Ok(command.clone());
        };
        let admitted = self.admit(node, image, shown, &need, deadline).await;
        let (_, by) = admitted.map_err(error::denied)?;
        Ok(match by {
            Some(by) => Command::By(by, Box::new(command.clone())),
            None => command.clone(),
        })
    }
}
