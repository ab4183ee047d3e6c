//! A call: attempts at one replica after another until there is an answer or the deadline is over.
//!
//! Promises: what a retry can cure does not reach the caller before the deadline. Redirects are followed at once;
//! requests on a broken connection fail at once and leave again as soon as a new leader is known; overload is waited
//! out. At most one attempt of a call is in flight: an attempt that another leader overtakes is cancelled before the
//! next one leaves. Each caller drives its own attempts, so that resends do not queue behind one another.
//!
//! Left out on purpose: numbering of writes; see [`crate::once`].

mod router;
mod trail;
mod verdict;

use std::time::Duration;

use futures_util::future::BoxFuture;
use quorate_host::entropy;
use quorate_types::limits::REQUEST_BYTES_MAX;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Request, Response, Status};

pub(crate) use router::{Flown, Router, Target};
pub(crate) use trail::Trail;
pub(crate) use verdict::{Verdict, words};

use crate::core::Core;
use crate::error::Error;
use crate::topology::Route;
use crate::wire::Wire;

/// How much longer than the caller a replica is told to care. Both clocks would otherwise ring at once, and the
/// transport's would take the attempt's place in the error.
const SLACK: Duration = Duration::from_millis(100);

/// A method of a generated client.
pub(crate) type Method<Q, A> = fn(Wire, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>>;

/// What an attempt may do to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, or something that doing twice does not change.
    None,
    /// Something that its number keeps from being done twice.
    Numbered,
    /// Something that must not be sent again once it may have been done.
    Once,
}

/// A call without its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// The method's name, for messages.
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    pub(crate) effect: Effect,
    pub(crate) begun: Instant,
    /// How long the caller waits.
    pub(crate) patience: Duration,
}

/// Why a call ends without an answer.
#[derive(Debug)]
pub(crate) enum Stop {
    Error(Error),
    /// The number of the write means nothing to the cluster; `client` when the whole client does not.
    Unnumbered {
        client: bool,
    },
}

impl Plan {
    pub(crate) fn new(name: &'static str, target: Target, effect: Effect, patience: Duration) -> Self {
        Self {
            name,
            target,
            effect,
            begun: Instant::now(),
            patience,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.begun + self.patience
    }

    pub(crate) fn trail(&self) -> Trail {
        Trail::new(self.effect != Effect::None)
    }

    /// Wraps a message with what is left of the caller's patience, so that a replica need not work for nobody.
    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        let left = self.deadline().saturating_duration_since(Instant::now());
        request.set_timeout(left + SLACK);
        request
    }
}

/// Refuses what no replica would take.
pub(crate) fn check_size(message: &impl prost::Message) -> Result<(), Error> {
    let bytes = message.encoded_len();
    if bytes > REQUEST_BYTES_MAX {
        return Err(Error::invalid(
            "request",
            format!("it has {bytes} bytes; at most {REQUEST_BYTES_MAX} are taken: send less at once"),
        ));
    }
    Ok(())
}

impl Core {
    /// Makes a call that needs no number.
    pub(crate) async fn call<Q, A>(
        &self,
        plan: Plan,
        message: Q,
        method: Method<Q, A>,
    ) -> Result<Response<A>, Error>
    where
        Q: prost::Message + Clone,
    {
        check_size(&message)?;
        let mut trail = plan.trail();
        let driven = self.drive(&plan, &mut trail, || message.clone(), method);
        match timeout_at(plan.deadline(), Box::pin(driven)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Stop::Error(error))) => Err(error),
            Ok(Err(Stop::Unnumbered { .. })) => Err(Error::protocol(format!(
                "{} carries no request id, and yet the cluster did not know it",
                plan.name
            ))),
            Err(_) => Err(self.given_up(&plan, &trail)),
        }
    }

    pub(crate) fn given_up(&self, plan: &Plan, trail: &Trail) -> Error {
        trail.given_up(plan.name, plan.patience, &self.topology.describe())
    }

    /// One attempt after another, without regard to the deadline.
    pub(crate) async fn drive<Q, A>(
        &self,
        plan: &Plan,
        trail: &mut Trail,
        mut message: impl FnMut() -> Q,
        method: Method<Q, A>,
    ) -> Result<Response<A>, Stop> {
        let mut router = Router::new(&self.topology, plan.target);
        loop {
            let Some(route) = router.next().await else {
                return Err(Stop::Error(Error::closed(trail.outcome())));
            };
            trail.departed();
            let attempt = method(route.wire.clone(), plan.request(message()));
            match router.fly(&route, attempt).await {
                Flown::Landed(Ok(answer)) => return Ok(answer),
                Flown::Landed(Err(status)) => self.judge(plan, trail, &mut router, &route, &status).await?,
                Flown::Overtaken => {
                    trail.failed(
                        &route.address,
                        "nothing, until another replica led".to_owned(),
                        true,
                    );
                    self.may_repeat(plan, trail, "another replica took over")?;
                }
                Flown::Closed => return Err(Stop::Error(Error::closed(trail.outcome()))),
            }
        }
    }

    /// Decides whether the failed attempt at `route` is followed by another, and waits where that helps.
    async fn judge(
        &self,
        plan: &Plan,
        trail: &mut Trail,
        router: &mut Router,
        route: &Route,
        status: &Status,
    ) -> Result<(), Stop> {
        let verdict = Verdict::of(status);
        let unknown_before = trail.may_be_executed();
        trail.failed(&route.address, words(status), verdict.may_be_executed());
        match verdict {
            Verdict::Redirected(hint) => router.redirected(route, hint, &self.topology),
            Verdict::Overloaded { retry_after } => {
                sleep(retry_after.mul_f64(1.0 + entropy::random_fraction())).await;
                router.forgive();
            }
            Verdict::Lost => {
                router.failed(route);
                self.may_repeat(plan, trail, &words(status))?;
            }
            Verdict::ClientUnknown => return Err(Stop::Unnumbered { client: true }),
            Verdict::RequestForgotten => return Err(Stop::Unnumbered { client: false }),
            // An earlier attempt may have been executed; only the cluster's own decision tells.
            Verdict::Final(Error::Invalid { .. }) | Verdict::Foreign(_) if unknown_before => {
                router.failed(route)
            }
            Verdict::Final(error) => return Err(Stop::Error(error)),
            // A leader that does not know the call will not learn it before the deadline; another replica that does
            // not is none of ours.
            Verdict::Foreign(error) if route.leads || plan.target != Target::Leader => {
                return Err(Stop::Error(error));
            }
            Verdict::Foreign(_) => router.failed(route),
        }
        Ok(())
    }

    fn may_repeat(&self, plan: &Plan, trail: &Trail, why: &str) -> Result<(), Stop> {
        match plan.effect {
            Effect::None | Effect::Numbered => Ok(()),
            Effect::Once => Err(Stop::Error(trail.ended(plan.name, why))),
        }
    }
}
