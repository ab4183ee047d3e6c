//! To whom the next attempt goes.
//!
//! Promises: a leader that is newly believed is tried at once. One that just failed is tried again only after a pause,
//! and in between another replica is asked, which holds the request through an election or knows the way. Without any
//! replica that answers, it waits for one. Left out on purpose: the deadline, which is the caller's.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::entropy;
use quorate_types::NodeId;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::topology::{Leader, Route, Topology, View};

/// How long news of a leader is waited for before another replica is asked; it grows with each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Where it ends.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long an attempt may still be answered after another way has become better. An orderly handover answers what
/// is under way within this time; a broken connection fails its requests at once and never waits for it.
const GRACE: Duration = Duration::from_millis(25);

/// Which replicas may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The leader; any other redirects.
    Leader,
    /// Whichever.
    Any,
    /// This one.
    Node(NodeId),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Router {
    views: watch::Receiver<Arc<View>>,
    target: Target,
    /// The belief whose leader failed.
    failed: Option<u64>,
    /// The replica that was last asked although it is not believed to lead.
    asked: Option<NodeId>,
    /// Attempts in a row that failed, for [`Target::Any`].
    failures: usize,
    pauses: u32,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Flown<T> {
    Landed(T),
    /// It was given up: another way is better.
    Overtaken,
    /// The client was closed.
    Closed,
}

impl Router {
    pub(crate) fn new(topology: &Topology, target: Target) -> Self {
        let mut views = topology.views();
        // A route may come from before: what has changed since then must not be missed.
        views.mark_changed();
        Self {
            views,
            target,
            failed: None,
            asked: None,
            failures: 0,
            pauses: 0,
        }
    }

    /// Waits for the replica to ask next; `None` when the client was closed.
    pub(crate) async fn next(&mut self) -> Option<Route> {
        match self.target {
            Target::Leader => self.next_leader().await,
            Target::Any => self.next_of_any().await,
            Target::Node(node) => self.next_of(node).await,
        }
    }

    /// The attempt at `route` failed; the next one should not go there at once.
    pub(crate) fn failed(&mut self, route: &Route) {
        self.failures += 1;
        if route.leads {
            self.failed = Some(route.belief);
        }
    }

    /// The replica at `route` named `hint`. Who is believed to lead after that is asked at once, unless it is the one
    /// that has just said no.
    pub(crate) fn redirected(&mut self, route: &Route, hint: Option<Leader>, topology: &Topology) {
        self.failed(route);
        if let Some(hint) = hint {
            topology.hinted(hint);
        }
    }

    /// The replica at `route` is overloaded: waits until it may be asked again, with jitter, or there is a better one.
    pub(crate) async fn rest(&mut self, route: &Route, retry_after: Duration) {
        let rested = sleep(retry_after.mul_f64(1.0 + entropy::random_fraction()));
        tokio::pin!(rested);
        loop {
            tokio::select! {
                biased;
                changed = self.views.changed() => {
                    let view = Arc::clone(&self.views.borrow_and_update());
                    if changed.is_err() || view.closed || self.is_overtaken(route, &view) {
                        break;
                    }
                }
                () = &mut rested => break,
            }
        }
        self.forgive();
    }

    /// Things go well: whoever leads may be asked at once.
    pub(crate) fn forgive(&mut self) {
        self.failed = None;
        self.failures = 0;
        self.pauses = 0;
    }

    /// Waits for `attempt` at `route`, until a better way shows.
    pub(crate) async fn fly<T>(&mut self, route: &Route, attempt: impl Future<Output = T>) -> Flown<T> {
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                biased;
                landed = &mut attempt => return Flown::Landed(landed),
                changed = self.views.changed() => {
                    let view = Arc::clone(&self.views.borrow_and_update());
                    if changed.is_err() || view.closed {
                        return Flown::Closed;
                    }
                    if self.is_overtaken(route, &view) {
                        break;
                    }
                }
            }
        }
        tokio::select! {
            biased;
            landed = attempt => Flown::Landed(landed),
            () = sleep(GRACE) => Flown::Overtaken,
        }
    }

    /// Lets `delay` pass before an attempt at `route`, unless a leader comes to be believed meanwhile, be it the one at
    /// `route`: what was waited for is over then.
    pub(crate) async fn hold(&mut self, route: &Route, delay: Duration) -> Flown<()> {
        let newer = async {
            loop {
                {
                    let view = self.views.borrow_and_update();
                    if view.closed {
                        return Flown::Closed;
                    }
                    if view
                        .leader
                        .as_ref()
                        .is_some_and(|leader| leader.belief > route.belief)
                    {
                        return Flown::Overtaken;
                    }
                }
                if self.views.changed().await.is_err() {
                    return Flown::Closed;
                }
            }
        };
        timeout(delay, newer).await.unwrap_or(Flown::Landed(()))
    }

    fn is_overtaken(&self, route: &Route, view: &View) -> bool {
        match (self.target, &view.leader) {
            (Target::Leader, Some(leader)) => leader.belief > route.belief && leader.node != route.node,
            (Target::Leader, None) => false,
            (Target::Any | Target::Node(_), _) => view.routes.iter().all(|r| r.link != route.link),
        }
    }

    /// The current view, or `None` when the client was closed.
    fn view(&mut self) -> Option<Arc<View>> {
        let view = Arc::clone(&self.views.borrow_and_update());
        (!view.closed).then_some(view)
    }

    async fn next_leader(&mut self) -> Option<Route> {
        let pause = sleep(self.pause());
        tokio::pin!(pause);
        let mut paused = false;
        loop {
            let view = self.view()?;
            if let Some(leader) = view
                .leader
                .as_ref()
                .filter(|leader| self.failed != Some(leader.belief))
            {
                return Some(leader.clone());
            }
            if let Some(other) = self.another(&view).filter(|_| paused) {
                self.asked = Some(other.node);
                self.failed = None;
                return Some(other);
            }
            tokio::select! {
                biased;
                changed = self.views.changed() => changed.ok()?,
                () = &mut pause, if !paused => {
                    paused = true;
                    self.pauses = self.pauses.saturating_add(1);
                }
            }
        }
    }

    /// The next replica after the one asked last, preferably not the leader; it was tried already.
    fn another(&self, view: &View) -> Option<Route> {
        let others = || view.routes.iter().filter(|route| !route.leads);
        let after = |route: &&Route| Some(route.node) > self.asked;
        others()
            .find(after)
            .or_else(|| others().next())
            .or_else(|| view.routes.first())
            .cloned()
    }

    async fn next_of_any(&mut self) -> Option<Route> {
        loop {
            let view = self.view()?;
            let replicas = view.routes.len();
            if replicas == 0 {
                self.views.changed().await.ok()?;
                continue;
            }
            // Each replica once, then a pause.
            if self.failures >= replicas {
                self.failures = 0;
                self.pauses = self.pauses.saturating_add(1);
                sleep(self.pause()).await;
                continue;
            }
            let next = match self.asked {
                Some(asked) => view
                    .routes
                    .iter()
                    .find(|r| r.node > asked)
                    .or(view.routes.first()),
                None => view.routes.get(pick(replicas)),
            };
            let next = next.cloned();
            self.asked = next.as_ref().map(|route| route.node);
            return next;
        }
    }

    async fn next_of(&mut self, node: NodeId) -> Option<Route> {
        if self.failures > 0 {
            self.pauses = self.pauses.saturating_add(1);
            sleep(self.pause()).await;
        }
        loop {
            let view = self.view()?;
            if let Some(route) = view.routes.iter().find(|route| route.node == node) {
                return Some(route.clone());
            }
            self.views.changed().await.ok()?;
        }
    }

    fn pause(&self) -> Duration {
        pause(self.pauses, entropy::random_fraction())
    }
}

fn pause(pauses: u32, fraction: f64) -> Duration {
    let grown = PAUSE_FIRST.mul_f64(1.5_f64.powi(pauses.min(20).cast_signed()));
    grown.min(PAUSE_MAX).mul_f64(0.75 + fraction / 2.0)
}

/// A random index below `len`, which is small.
fn pick(len: usize) -> usize {
    usize::try_from(entropy::random_u64() % len as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_second() {
        let millis = |pauses, fraction| pause(pauses, fraction).as_millis();
        assert_eq!([millis(0, 0.5), millis(1, 0.5), millis(2, 0.5)], [50, 75, 112]);
        assert_eq!([millis(0, 0.0), millis(0, 1.0)], [37, 62]);
        assert_eq!([millis(20, 0.5), millis(u32::MAX, 0.5)], [1000, 1000]);
    }
}
