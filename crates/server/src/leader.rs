//! The redirecting layer: serve here, or say at once who leads.
//!
//! Promises: while another replica leads, a call is answered at once with its id, client address and term, and nothing of
//! it was executed. While nobody leads, the call is held inside the replica until somebody does or its deadline comes, so
//! that an election is a slow answer and not a failed one. Left out on purpose: forwarding. A redirect costs one hop more
//! once; a forwarded call would have two deadlines and an outcome that nobody can tell.
//!
//! # For clients in other languages
//!
//! Any replica can be asked anything; start with whichever answers. To be as robust as `quorate-client`:
//!
//! 1. **Find the leader.** Open `Cluster.WatchTopology` at every replica you know. The first message comes at once, a
//!    further one at each change and at least every five seconds. Of all messages believe the one with the highest `term`; an absent
//!    `leader` says that this replica knows none. `members` are all replicas with their `client_address`. A stream that
//!    broke or that said nothing for twelve seconds is dead: dial that replica again.
//! 2. **Follow redirects.** Every error carries plain trailers (or headers, when there was no answer body):
//!
//!    | trailer | meaning |
//!    |---|---|
//!    | `quorate-outcome` | `not-executed`: send it again wherever you like. `unknown`: it may have been executed; send it again only with the same request id |
//!    | `quorate-leader-address` | send it there, now; `host:port` |
//!    | `quorate-leader-id`, `quorate-leader-term` | who that is. Ignore a redirect whose term is below the highest you have seen |
//!    | `quorate-reason` | the cluster's answer is no, and why (`Reason` in `error.proto`): do not send it again unchanged |
//!
//!    The same facts stand in `grpc-status-details-bin` as a `google.rpc.Status` with one `quorate.v1.ErrorDetail`. An error
//!    without `quorate-outcome` does not come from a replica's handlers but from the transport, a proxy or a dying process:
//!    take it as `unknown`.
//! 3. **Number your writes.** Choose 16 random bytes, call `Clients.Register` once, and give every write a `RequestId`: your
//!    `client_id`, a `sequence` from 1 upwards, and as `floor` the lowest sequence whose answer you do not have yet. A write
//!    that is sent twice under one number is executed once, and both get the same answer. Without a number, a write whose
//!    outcome is `unknown` cannot be repeated safely.
//! 4. **Say how long you wait.** Set the call's deadline (`grpc-timeout`); the replica holds the call that long at most, and one
//!    minute at most. Without it, ten seconds.
//! 5. **Wait a little** after an error without `quorate-leader-address` (10 to 100 milliseconds, with jitter), then ask the next
//!    replica. On `RESOURCE_EXHAUSTED` without a `quorate-reason`, wait and ask the same one again.
//!
//! ## An example
//!
//! Node 1 led and was stopped for an upgrade; node 2 took over. A client still sends to node 1's neighbour, node 3:
//!
//! ```text
//! > POST /quorate.v1.Root/CreateDatabase         to 10.0.0.3:2379
//! > grpc-timeout: 2S
//! >   request { client_id: 8f..1c  sequence: 42  floor: 41 }  name: "books"
//! < grpc-status: 9                               FAILED_PRECONDITION
//! < grpc-message: this replica does not lead; node 2 does, at 10.0.0.2:2379
//! < quorate-outcome: not-executed
//! < quorate-leader-id: 2
//! < quorate-leader-address: 10.0.0.2:2379
//! < quorate-leader-term: 7
//!
//! > POST /quorate.v1.Root/CreateDatabase         to 10.0.0.2:2379, the same message
//! (the connection breaks: node 2 died; nothing says whether it was executed)
//!
//! > POST /quorate.v1.Root/CreateDatabase         to 10.0.0.3:2379, the same message
//! (held for some milliseconds; node 3 is elected)
//! < database_id: 1207
//! < grpc-status: 0
//! ```
//!
//! Had node 2 executed the write before it died, the last answer would be the same: sequence 42 is executed once.

use quorate_api::v1;
use quorate_replica::machine::Reply;
use quorate_replica::{Leadership, Replica};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::convert::read::Read;
use crate::convert::write::{Proposal, Write};
use crate::{deadline, status};

/// Says how long ago the replica last heard from the leader, milliseconds; 0 on the leader.
const LEADER_CONTACT_MS: &str = "quorate-leader-contact-ms";

/// A replica as the services see it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Led {
    replica: Replica,
    leadership: watch::Receiver<Leadership>,
}

impl Led {
    pub(crate) fn new(replica: Replica) -> Self {
        Self {
            leadership: replica.leadership(),
            replica,
        }
    }

    pub(crate) fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Who leads, now.
    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// Fails at once when another replica leads.
    pub(crate) fn here(&self) -> Result<(), Status> {
        match status::redirect(&self.leadership.borrow()) {
            Some(redirect) => Err(redirect),
            None => Ok(()),
        }
    }

    /// Waits until another replica leads.
    pub(crate) async fn elsewhere(&self) -> v1::LeaderHint {
        let mut leadership = self.leadership.clone();
        loop {
            let hint = status::leader_elsewhere(&leadership.borrow_and_update());
            if let Some(hint) = hint {
                return hint;
            }
            if leadership.changed().await.is_err() {
                // The replica is gone, and its streams with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A write: proposed, decided, answered.
    pub(crate) async fn write<W: Write>(&self, request: Request<W>) -> Result<Response<W::Answer>, Status> {
        let deadline = deadline::of(request.metadata());
        let proposal = request.into_inner().proposal().map_err(status::malformed)?;
        let reply = self.decide(&proposal, deadline).await?;
        W::answer(reply)
            .map(Response::new)
            .ok_or_else(status::number_used)
    }

    /// Proposes, and waits for what the cluster decides.
    pub(crate) async fn decide(&self, proposal: &Proposal, deadline: Instant) -> Result<Reply, Status> {
        self.here()?;
        let decided = self
            .replica
            .propose(&proposal.command, proposal.request, deadline)
            .await;
        decided
            .map_err(|unavailable| status::unavailable(&unavailable))?
            .outcome
            .map_err(|refusal| status::refused(&refusal))
    }

    /// A linearizable read.
    pub(crate) async fn read<R: Read>(&self, request: Request<R>) -> Result<Response<R::Answer>, Status> {
        let deadline = deadline::of(request.metadata());
        let question = request.into_inner();
        question.check().map_err(status::malformed)?;
        self.here()?;
        let image = self.replica.read(deadline).await;
        let image = image.map_err(|unavailable| status::unavailable(&unavailable))?;
        question
            .answer(&image)
            .map(Response::new)
            .map_err(|refusal| status::refused(&refusal))
    }

    /// A read of whatever this replica has, with word of how old that may be.
    pub(crate) fn read_stale<R: Read>(&self, request: Request<R>) -> Result<Response<R::Answer>, Status> {
        let question = request.into_inner();
        question.check().map_err(status::malformed)?;
        let stale = self.replica.read_stale();
        let stale = stale.map_err(|unavailable| status::unavailable(&unavailable))?;
        let answer = question
            .answer(&stale.image)
            .map_err(|refusal| status::refused(&refusal))?;
        let mut response = Response::new(answer);
        if let Some(contact) = stale.leader_contact {
            let contact_ms = u64::try_from(contact.as_millis()).unwrap_or(u64::MAX);
            response
                .metadata_mut()
                .insert(LEADER_CONTACT_MS, contact_ms.into());
        }
        Ok(response)
    }
}
