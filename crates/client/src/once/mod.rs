//! Writes that are executed at most once, however often they are sent.
//!
//! The cluster keeps, for each registered client, the answers to its numbered writes above the floor that the client
//! has acknowledged. A number that it has seen is answered from there; one below the floor is refused as forgotten,
//! and any number of a client that it does not know is refused as unknown. Neither is executed.
//!
//! # What this module does
//!
//! The client registers one random id, at its first write, for all its callers. Each write takes the next number and
//! keeps it over all its attempts. A number is *settled* when its [`Number`] is dropped: the answer is in the caller's
//! hands, or the caller gave up (deadline, dropped future) and nobody will send it again. The floor is the lowest
//! number that is not settled. The numbers from the floor up to the newest are fewer than the answers that the
//! cluster keeps, so none that may still be asked for is ever pushed out; further callers wait for their turn.
//!
//! # Why nothing is executed twice
//!
//! 1. *Same number, same write.* A number belongs to one [`Number`], which belongs to one call, and is never given
//!    again. All attempts of the call carry it, so the cluster executes at most one of them.
//! 2. *An attempt may arrive late*, after its call has ended. If the number was executed, the late one is answered from
//!    memory or refused as forgotten. If not, because the caller gave up, it may still be executed: at most once, and
//!    the caller was told that the outcome is unknown. When the floor has passed it, it is refused.
//! 3. *A new number for the same write* could execute it twice, so it is taken only if no earlier attempt can have
//!    been or ever be executed. On "client unknown" and "request forgotten" the attempt that was answered so was not
//!    executed. Every earlier attempt of the call counts as possibly executed unless a replica answered it with "not
//!    executed" (redirect, overload). If there was none such, the write is sent again under a new number; otherwise
//!    the caller gets [`Outcome::Unknown`].
//! 4. *Cancelled attempts* (another leader took over, the stream broke) count as possibly executed.
//!
//! It rests on two promises of the cluster: a replica that answers "not executed" neither has proposed the request nor
//! will; and an id is registered only by `Clients.Register`, which this module never sends again for an id that was
//! reported unknown. And on one of time: no copy of a `Register` is under way for as long as it takes a client to be
//! forgotten, or a late one could bring an id back without its history.
//!
//! Left out on purpose: attempts; see [`crate::call`].
//!
//! [`Outcome::Unknown`]: crate::Outcome::Unknown

mod ledger;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use quorate_api::v1;
use quorate_host::entropy;
use quorate_types::ClientId;
use quorate_types::limits::CLIENT_ANSWERS_MAX;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tonic::Response;

use crate::call::{Effect, Method, Plan, Stop, Target, Trail, check_size};
use crate::core::Core;
use crate::error::Error;
use crate::numbered::Unary;
use ledger::Ledger;

/// New numbers that one write may take: each was answered by "client unknown" at once, and a cluster that goes on
/// like that is broken.
pub(crate) const NUMBERS_MAX: u32 = 4;

/// The registration that all callers share.
#[derive(Debug)]
pub(crate) struct Once {
    current: Mutex<Option<Arc<Registered>>>,
    /// Who holds the permit registers; the others wait. A caller that gives up passes it on.
    turn: Semaphore,
}

/// A client id that the cluster knows, and its numbers.
#[derive(Debug)]
struct Registered {
    client: ClientId,
    ledger: Mutex<Ledger>,
    /// How many numbers may be given until the floor rises. Closed when the cluster has forgotten the id.
    window: Semaphore,
}

/// The number of one write. Settled when dropped.
#[derive(Debug)]
pub(crate) struct Number {
    registered: Arc<Registered>,
    sequence: u64,
}

impl Once {
    pub(crate) fn new() -> Self {
        Self {
            current: Mutex::new(None),
            turn: Semaphore::new(1),
        }
    }

    /// The cluster does not know the client of `number` any more.
    pub(crate) fn forgotten(&self, number: &Number) {
        let mut current = lock(&self.current);
        if current
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &number.registered))
        {
            *current = None;
            number.registered.window.close();
        }
    }

    fn current(&self) -> Option<Arc<Registered>> {
        lock(&self.current).clone()
    }
}

impl Registered {
    fn new(client: ClientId, answers_max: u32) -> Self {
        let answers = usize::try_from(answers_max)
            .unwrap_or(usize::MAX)
            .min(CLIENT_ANSWERS_MAX);
        Self {
            client,
            ledger: Mutex::new(Ledger::new()),
            // "Fewer than" that many; but one at least, or there would be no writes.
            window: Semaphore::new(answers.saturating_sub(1).max(1)),
        }
    }
}

impl Number {
    /// The request id for an attempt that leaves now.
    pub(crate) fn request_id(&self) -> v1::RequestId {
        v1::RequestId {
            client_id: self.registered.client.to_bytes().to_vec(),
            sequence: self.sequence,
            floor: lock(&self.registered.ledger).floor(),
        }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let rise = lock(&self.registered.ledger).settle(self.sequence);
        self.registered
            .window
            .add_permits(usize::try_from(rise).unwrap_or(0));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Takes a number, registering first when need be. Waits while too many are open.
    pub(crate) async fn number(&self, deadline: Instant) -> Result<Number, Error> {
        loop {
            let registered = match self.once.current() {
                Some(registered) => registered,
                None => self.register(deadline).await?,
            };
            // Closed means forgotten in the meantime: register anew.
            let permit = registered.window.acquire().await.map(SemaphorePermit::forget);
            if permit.is_ok() {
                let sequence = lock(&registered.ledger).take();
                return Ok(Number { registered, sequence });
            }
        }
    }

    async fn register(&self, deadline: Instant) -> Result<Arc<Registered>, Error> {
        let _turn = self
            .once
            .turn
            .acquire()
            .await
            .map_err(|_| Error::protocol("the turn to register is gone"))?;
        if let Some(registered) = self.once.current() {
            return Ok(registered);
        }
        let client = ClientId(entropy::random_u128());
        let request = v1::RegisterRequest {
            client_id: client.to_bytes().to_vec(),
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        let plan = Plan::new("Register", Target::Leader, Effect::None, patience);
        let answer = self.call(plan, request, REGISTER).await?.into_inner();
        let registered = Arc::new(Registered::new(client, answer.answers_max));
        *lock(&self.once.current) = Some(Arc::clone(&registered));
        tracing::debug!(%client, "registered");
        Ok(registered)
    }

    /// Makes a numbered write.
    pub(crate) async fn write<W: Unary>(&self, patience: Duration, write: W) -> Result<W::Answer, Error> {
        check_size(&write)?;
        let plan = Plan::new(W::NAME, Target::Leader, Effect::Numbered, patience);
        let mut trail = plan.trail();
        let driven = self.write_attempts(&plan, &mut trail, write);
        match timeout_at(plan.deadline(), Box::pin(driven)).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(self.given_up(&plan, &trail)),
        }
    }

    async fn write_attempts<W: Unary>(
        &self,
        plan: &Plan,
        trail: &mut Trail,
        write: W,
    ) -> Result<Response<W::Answer>, Error> {
        for _ in 0..NUMBERS_MAX {
            let number = self.number(plan.deadline()).await?;
            let numbered = || write.clone().numbered(number.request_id());
            match Box::pin(self.drive(plan, trail, numbered, W::METHOD)).await {
                Ok(answer) => return Ok(answer),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Unnumbered { client }) => {
                    if client {
                        self.once.forgotten(&number);
                    }
                    if trail.may_be_executed() {
                        let why = "the cluster has forgotten this client while the write was under way";
                        return Err(trail.ended(plan.name, why));
                    }
                }
            }
        }
        Err(never_known(plan.name))
    }
}

/// The error for a write that has used up its numbers.
pub(crate) fn never_known(call: &str) -> Error {
    Error::protocol(format!(
        "{call}: the cluster registers this client and does not know it, {NUMBERS_MAX} times in a row"
    ))
}

const REGISTER: Method<v1::RegisterRequest, v1::RegisterResponse> = |wire, request| {
    async move {
        v1::clients_client::ClientsClient::new(wire)
            .register(request)
            .await
    }
    .boxed()
};

#[cfg(test)]
mod tests {
    use super::*;

    fn number(registered: &Arc<Registered>) -> Option<Number> {
        registered.window.try_acquire().ok()?.forget();
        Some(Number {
            registered: Arc::clone(registered),
            sequence: lock(&registered.ledger).take(),
        })
    }

    #[test]
    fn fewer_numbers_are_open_than_the_cluster_keeps_answers() {
        for (answers_max, want) in [(0, 1), (1, 1), (2, 1), (8, 7), (1024, 1023), (u32::MAX, 1023)] {
            let registered = Arc::new(Registered::new(ClientId(1), answers_max));
            let open: Vec<Number> = std::iter::from_fn(|| number(&registered)).collect();
            assert_eq!(open.len(), want, "{answers_max}");
        }
    }

    #[test]
    fn the_span_above_the_floor_is_bounded_not_only_the_count() {
        let registered = Arc::new(Registered::new(ClientId(1), 4));
        let mut open: Vec<Number> = std::iter::from_fn(|| number(&registered)).collect();
        let oldest = open.remove(0);
        drop(open);
        assert!(
            number(&registered).is_none(),
            "the oldest still holds the floor down"
        );
        assert_eq!(oldest.request_id().floor, 1);
        drop(oldest);
        let next: Vec<Number> = std::iter::from_fn(|| number(&registered)).collect();
        let ids: Vec<_> = next.iter().map(|n| (n.sequence, n.request_id().floor)).collect();
        assert_eq!(ids, [(4, 4), (5, 4), (6, 4)]);
    }

    #[test]
    fn only_the_current_registration_is_forgotten() {
        let once = Once::new();
        let (old, new) = (Registered::new(ClientId(1), 4), Registered::new(ClientId(2), 4));
        let (old, new) = (Arc::new(old), Arc::new(new));
        *lock(&once.current) = Some(Arc::clone(&new));
        once.forgotten(&number(&old).expect("a number"));
        assert!(
            once.current().is_some(),
            "an answer to an old number says nothing of the new id"
        );
        once.forgotten(&number(&new).expect("a number"));
        assert!(once.current().is_none());
        assert!(new.window.is_closed());
    }
}
