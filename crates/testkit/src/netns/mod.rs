//! A network of namespaces: one for each replica, all on one bridge, and links that can be cut.
//!
//! The bridge stands in a namespace of its own, where the test's clients run too, so that nothing of the machine's own
//! network is touched. Every host has one address and all ports to itself. Promises: names are unique to this process;
//! dropping the [`Network`] removes everything, and a new one sweeps what a killed test has left behind. Faults are
//! packet filter rules in the receiver's namespace: a cut loses packets silently, as a broken cable does, and ends no
//! connection; a refusal answers with a reset, as a firewall may.
//!
//! Needs root, `ip` (iproute2), `iptables` and `nsenter`; [`unavailable`] tells what is missing. Left out on purpose:
//! delay and loss, for which many kernels have no module.

mod command;
mod group;
mod rule;
mod sweep;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::KitError;
use command::{ip, run};
pub use group::{CLIENT_PORT, Group, LIVENESS_PORT, PEER_PORT, Plan};
pub use rule::{Place, Ports, Rule};

/// Networks of this process so far.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// See the module.
#[derive(Debug)]
pub struct Network {
    /// Begins the names of all its namespaces.
    prefix: String,
    hosts: usize,
}

/// What this machine lacks for a network of namespaces; `None` when nothing.
#[must_use]
pub fn unavailable() -> Option<String> {
    let try_all = || {
        let network = Network::new(2)?;
        network.apply(&[Rule::refuse(Place::Host(0), Place::Host(1), Ports::To(1))])?;
        network.heal()?;
        network.inside(async || ())
    };
    try_all().err().map(|error| error.to_string())
}

impl Network {
    /// A network of so many hosts, all of which reach one another and the test.
    ///
    /// # Errors
    /// [`KitError::Command`] when the system does not allow it.
    pub fn new(hosts: usize) -> Result<Self, KitError> {
        sweep::stale();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}{}-{number}", sweep::PREFIX, std::process::id());
        // Made first, so that dropping it removes what the following steps have made when one of them fails.
        let network = Self { prefix, hosts };
        let hub = network.namespace(Place::Test);
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "set", "lo", "up"])?;
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        let address = format!("{}/24", network.address(Place::Test));
        ip(&["-n", &hub, "addr", "add", &address, "dev", "br0"])?;
        ip(&["-n", &hub, "link", "set", "br0", "up"])?;
        for host in 0..hosts {
            let name = network.namespace(Place::Host(host));
            let (port, address) = (
                format!("p{host}"),
                format!("{}/24", network.address(Place::Host(host))),
            );
            ip(&["netns", "add", &name])?;
            ip(&[
                "-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name,
            ])?;
            ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        }
        Ok(network)
    }

    /// The address of a place. Networks do not see one another, so all use the same addresses.
    #[must_use]
    pub fn address(&self, place: Place) -> Ipv4Addr {
        place.address()
    }

    fn namespace(&self, place: Place) -> String {
        match place {
            Place::Test => format!("{}-hub", self.prefix),
            Place::Host(host) => format!("{}-{host}", self.prefix),
        }
    }

    fn path(&self, place: Place) -> PathBuf {
        PathBuf::from("/run/netns").join(self.namespace(place))
    }

    /// Makes these rules hold, beside those that hold already.
    ///
    /// # Errors
    /// [`KitError::Command`] when the packet filter refuses them.
    pub fn apply(&self, rules: &[Rule]) -> Result<(), KitError> {
        for rule in rules {
            self.filter(rule.holds_at(), &rule.arguments())?;
        }
        Ok(())
    }

    /// Gives a host another address.
    pub(crate) fn readdress(&self, place: Place, old: Ipv4Addr, new: Ipv4Addr) -> Result<(), KitError> {
        let name = self.namespace(place);
        ip(&["-n", &name, "addr", "del", &format!("{old}/24"), "dev", "eth0"])?;
        ip(&["-n", &name, "addr", "add", &format!("{new}/24"), "dev", "eth0"])
    }

    /// Cuts both directions between two places.
    ///
    /// # Errors
    /// See [`Network::apply`].
    pub fn cut(&self, a: Place, b: Place) -> Result<(), KitError> {
        self.apply(&[Rule::lose(a, b, Ports::All), Rule::lose(b, a, Ports::All)])
    }

    /// Loses what `from` sends to `to`; the other direction stays.
    ///
    /// # Errors
    /// See [`Network::apply`].
    pub fn cut_one_way(&self, from: Place, to: Place) -> Result<(), KitError> {
        self.apply(&[Rule::lose(from, to, Ports::All)])
    }

    /// Cuts a host off from all other hosts. The test still reaches it, so that its answers can be checked.
    ///
    /// # Errors
    /// See [`Network::apply`].
    pub fn isolate(&self, host: usize) -> Result<(), KitError> {
        for other in (0..self.hosts).filter(|other| *other != host) {
            self.cut(Place::Host(host), Place::Host(other))?;
        }
        Ok(())
    }

    /// Ends all rules.
    ///
    /// # Errors
    /// See [`Network::apply`].
    pub fn heal(&self) -> Result<(), KitError> {
        for place in self.places() {
            self.filter(place, &["-F".to_owned(), "INPUT".to_owned()])?;
        }
        Ok(())
    }

    /// Runs `test` in the network, beside the bridge: its sockets, and those of all that it spawns, are opened there.
    ///
    /// # Errors
    /// [`KitError::Namespace`] when it cannot be entered.
    ///
    /// # Panics
    /// When the test does.
    pub fn inside<T: Send>(&self, test: impl AsyncFnOnce() -> T + Send) -> Result<T, KitError> {
        let path = self.path(Place::Test);
        let enter = || {
            let namespace = File::open(&path)?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            // Its workers are made by this thread, and are in the namespace as well.
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
        };
        let within = || match enter() {
            Ok(runtime) => Ok(runtime.block_on(test())),
            Err(cause) => Err(KitError::Namespace {
                name: self.namespace(Place::Test),
                cause,
            }),
        };
        // A thread of its own: one that has moved cannot be trusted with anything else.
        std::thread::scope(|scope| match scope.spawn(within).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.hosts).map(Place::Host).chain([Place::Test])
    }

    fn filter(&self, place: Place, arguments: &[String]) -> Result<(), KitError> {
        let net = format!("--net={}", self.path(place).display());
        let mut all = vec![net.as_str(), "iptables", "-w"];
        all.extend(arguments.iter().map(String::as_str));
        run("nsenter", &all)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in self.places() {
            // One that was not made cannot be removed; what else fails is swept by the next test.
            let _ = ip(&["netns", "del", &self.namespace(place)]);
        }
    }
}
