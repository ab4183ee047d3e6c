//! Where the replicas are and which of them leads.
//!
//! Promises: one channel and one open topology stream for each known replica, so that a new leader is pushed over a
//! connection that is already there, and the requests for it leave over one, too. On the path from a leader's death
//! to the first answer of its successor nothing waits for a timer: the broken connection fails its requests at once,
//! these wait for the next [`View`], and a push makes that view. A replica whose stream does not answer is not sent
//! requests: they would queue behind a dial.
//!
//! Left out on purpose: what to do with a request; see [`crate::call`].

mod answer;
mod backoff;
mod belief;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_api::v1;
use quorate_host::Network;
use quorate_types::NodeId;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use answer::Heard;
pub use answer::Leader;
use belief::Beliefs;

use crate::wire::Wire;

/// Addresses that are dialled at once, at most: a hostile answer must not make thousands. Later ones are left out.
const LINKS_MAX: usize = 32;

/// A way to a replica that answers.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) node: NodeId,
    pub(crate) address: Arc<str>,
    /// Which connection of all that were made.
    pub(crate) link: u64,
    /// The number of the belief that was current; see [`View::belief`].
    pub(crate) belief: u64,
    /// Whether it was believed to lead.
    pub(crate) leads: bool,
    pub(crate) wire: Wire,
}

/// What requests need to know at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The client was closed.
    pub(crate) closed: bool,
    /// Counts the times that a leader came to be believed: a leader under a new number is worth trying at once.
    pub(crate) belief: u64,
    /// The leader, when it is believed and answers.
    pub(crate) leader: Option<Route>,
    /// All replicas that answer, by node id.
    pub(crate) routes: Vec<Route>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Topology {
    state: Mutex<State>,
    views: watch::Sender<Arc<View>>,
    leaders: watch::Sender<Option<Leader>>,
    wanted: watch::Sender<BTreeSet<String>>,
    urgency: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    beliefs: Beliefs,
    wires: BTreeMap<Arc<str>, (u64, Wire)>,
    links_made: u64,
    closed: bool,
}

impl Topology {
    pub(crate) fn new(seeds: impl IntoIterator<Item = String>) -> Self {
        let beliefs = Beliefs::new(seeds);
        Self {
            wanted: watch::Sender::new(beliefs.wanted()),
            state: Mutex::new(State {
                beliefs,
                wires: BTreeMap::new(),
                links_made: 0,
                closed: false,
            }),
            views: watch::Sender::new(Arc::new(View::default())),
            leaders: watch::Sender::new(None),
            urgency: watch::Sender::new(0),
        }
    }

    pub(crate) fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    pub(crate) fn leaders(&self) -> watch::Receiver<Option<Leader>> {
        self.leaders.subscribe()
    }

    pub(crate) fn members(&self) -> Vec<v1::MemberInfo> {
        self.lock().beliefs.members().to_vec()
    }

    /// What each address said or why it cannot be heard, for an error message.
    pub(crate) fn describe(&self) -> String {
        self.lock().beliefs.describe()
    }

    /// A replica sent us to `leader`.
    pub(crate) fn hinted(&self, leader: Leader) {
        self.change(|state| state.beliefs.hinted(leader));
    }

    /// Ends everything that looks at views.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn answered(&self, address: &Arc<str>, link: u64, wire: &Wire, heard: Heard) {
        self.change(|state| {
            if state.beliefs.answered(address, heard) {
                state.wires.insert(Arc::clone(address), (link, wire.clone()));
            } else {
                state.wires.remove(address);
            }
        });
    }

    fn lost(&self, address: &str, why: String) {
        self.change(|state| {
            state.wires.remove(address);
            state.beliefs.lost(address, why);
        });
    }

    fn dropped(&self, address: &str) {
        self.change(|state| {
            state.wires.remove(address);
            state.beliefs.dropped(address);
        });
    }

    fn is_leaderless(&self) -> bool {
        self.lock().beliefs.leader().is_none()
    }

    fn next_link(&self) -> u64 {
        let mut state = self.lock();
        state.links_made += 1;
        state.links_made
    }

    fn urgency(&self) -> watch::Receiver<u64> {
        self.urgency.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if it did, beliefs are still better than none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and publishes what came of it, all under the lock, so that views appear in their order.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let view = state.view();
        self.views.send_if_modified(|old| {
            let modified = !old.shows_the_same_as(&view);
            if modified {
                *old = Arc::new(view);
            }
            modified
        });
        let leader = state.beliefs.leader().filter(|_| !state.closed).cloned();
        self.leaders.send_if_modified(|old| replace(old, leader));
        self.wanted
            .send_if_modified(|old| replace(old, state.beliefs.wanted()));
        self.urgency
            .send_if_modified(|old| replace(old, state.beliefs.urgency()));
    }
}

fn replace<T: PartialEq>(old: &mut T, new: T) -> bool {
    let modified = *old != new;
    *old = new;
    modified
}

impl State {
    fn view(&self) -> View {
        let leader = self.beliefs.leader().map(|leader| leader.node);
        let belief = self.beliefs.belief();
        let routes = self.beliefs.speaking().into_iter().filter_map(|node| {
            let (address, (link, wire)) = self.wires.get_key_value(self.beliefs.address_of(node)?)?;
            Some(Route {
                node,
                address: Arc::clone(address),
                link: *link,
                belief,
                leads: leader == Some(node),
                wire: wire.clone(),
            })
        });
        let routes: Vec<Route> = routes.collect();
        View {
            closed: self.closed,
            belief,
            leader: routes.iter().find(|route| route.leads).cloned(),
            routes,
        }
    }
}

impl View {
    fn shows_the_same_as(&self, other: &Self) -> bool {
        let links = |view: &Self| view.routes.iter().map(|r| (r.link, r.leads)).collect::<Vec<_>>();
        self.closed == other.closed && self.belief == other.belief && links(self) == links(other)
    }
}

/// Returns once the client is closed.
pub(crate) async fn closed(views: &mut watch::Receiver<Arc<View>>) {
    // An error means that the topology is gone, and the client with it.
    let _ = views.wait_for(|view| view.closed).await;
}

/// Keeps a link to each wanted address until the topology is closed; owns and joins their tasks.
pub(crate) async fn keep_links(topology: Arc<Topology>, network: Arc<dyn Network>) {
    let mut wanted = topology.wanted.subscribe();
    let mut views = topology.views();
    let mut links: JoinSet<()> = JoinSet::new();
    let mut kept: BTreeMap<String, AbortHandle> = BTreeMap::new();
    loop {
        let mut now = wanted.borrow_and_update().clone();
        if now.len() > LINKS_MAX {
            tracing::warn!(
                addresses = now.len(),
                "too many addresses of replicas; only {LINKS_MAX} are dialled"
            );
            now = now.into_iter().take(LINKS_MAX).collect();
        }
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) =
            kept.into_iter().partition(|(address, _)| now.contains(address));
        kept = stay;
        for (address, link) in go {
            link.abort();
            // Only once the task is gone can it not report any more.
            while !link.is_finished() && links.join_next().await.is_some() {}
            topology.dropped(&address);
        }
        for address in now {
            kept.entry(address).or_insert_with_key(|address| {
                let (topology, network) = (Arc::clone(&topology), Arc::clone(&network));
                links.spawn(link::keep(topology, network, Arc::from(address.as_str())))
            });
        }
        tokio::select! {
            biased;
            () = closed(&mut views) => break,
            changed = wanted.changed() => if changed.is_err() {
                break;
            },
        }
    }
    links.shutdown().await;
    // Handles of a closed client may live on; its connections must not.
    for address in kept.keys() {
        topology.dropped(address);
    }
}
