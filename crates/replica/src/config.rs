//! What a replica is told at its start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Clock, Listener, Network};
use quorate_types::limits::GROUP_SIZES;
use quorate_types::{AddressError, MemberName, check_address};

use crate::profile::Profile;
use crate::raft::config::SnapshotEvery;

/// Who this replica is and whom it forms a group with.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// This replica's name; one of `listed`.
    pub name: MemberName,
    /// All replicas that form the group at first: one, three or five. The same list at each of them, in any order. Who
    /// joins a running cluster lists itself and members of it.
    pub listed: Vec<Listed>,
    /// Never form a group, only join one. Such a list may have any length.
    pub joins: bool,
    /// Timeouts.
    pub profile: Profile,
    /// How often snapshots are taken.
    pub snapshot: SnapshotEvery,
    /// A session whose stream broke dies after this, unless its worker resumes it.
    pub session_grace: Duration,
    /// How much of etcd's history is kept; `None` for all of it, until somebody compacts.
    pub compaction: Option<AutoCompaction>,
    /// A lease of etcd's whose keeper's connection broke ends after this, while this replica leads; `None`: after its time to
    /// live, as in etcd.
    pub orphan_grace: Option<Duration>,
    /// The version that status shows.
    pub version: String,
}

/// How much of the history of etcd's keys a leader keeps; it compacts the rest by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoCompaction {
    /// What was overwritten or deleted within this time, and a bit more; at least a second.
    Periodic {
        /// How long.
        retention: Duration,
    },
    /// The newest revisions.
    Revisions {
        /// How many.
        keep: u64,
    },
}

/// One replica of the static list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: MemberName,
    /// `host:port` of the peer protocol, as the others reach it.
    pub peer_address: String,
    /// `host:port` of the liveness links.
    pub liveness_address: String,
    /// `host:port` for clients.
    pub client_address: String,
}

/// The bound addresses. The liveness listener must be opened before anything else of the process and is closed last:
/// its being closed is read as the process's death.
pub struct Listeners {
    /// Of the liveness links.
    pub liveness: Listener,
    /// Of the peer protocol.
    pub peer: Listener,
}

/// The machine, real or simulated.
#[derive(Clone)]
pub struct Surroundings {
    /// Where to dial.
    pub network: Arc<dyn Network>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not one, three or five.
    #[error(
        "{0} replicas are listed; list 1, 3 or 5 (an even number tolerates no more failures than the odd one below)"
    )]
    GroupSize(usize),
    /// There is nobody to join.
    #[error("a replica that joins needs somebody to ask; list it and at least one member of the cluster")]
    NobodyToJoin,
    /// A name stands twice.
    #[error("the replica {0} is listed twice; names must differ")]
    NameTwice(MemberName),
    /// The replica itself is not listed.
    #[error("this replica's name, {0}, is not in the list of replicas; add it or fix the name")]
    NotListed(MemberName),
    /// An address is malformed.
    #[error("an address of replica {name} is malformed")]
    Address {
        /// Whose.
        name: MemberName,
        /// What is wrong.
        #[source]
        cause: AddressError,
    },
    /// Two addresses are the same.
    #[error("the address {0} is listed twice; every listener needs its own")]
    AddressTwice(String),
}

impl ReplicaConfig {
    /// Checks the list and brings it into the order of names, which is the order of node ids.
    ///
    /// # Errors
    /// [`ConfigError`] says what to change.
    pub fn checked(mut self) -> Result<Self, ConfigError> {
        if self.joins && self.listed.len() < 2 {
            return Err(ConfigError::NobodyToJoin);
        }
        if !self.joins && !GROUP_SIZES.contains(&self.listed.len()) {
            return Err(ConfigError::GroupSize(self.listed.len()));
        }
        self.listed.sort_unstable();
        if let Some(twice) = self.listed.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(ConfigError::NameTwice(twice[0].name.clone()));
        }
        if !self.listed.iter().any(|listed| listed.name == self.name) {
            return Err(ConfigError::NotListed(self.name));
        }
        let mut seen = BTreeSet::new();
        for listed in &self.listed {
            for address in [
                &listed.peer_address,
                &listed.liveness_address,
                &listed.client_address,
            ] {
                check_address(address).map_err(|cause| ConfigError::Address {
                    name: listed.name.clone(),
                    cause,
                })?;
                if !seen.insert(address) {
                    return Err(ConfigError::AddressTwice(address.clone()));
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> MemberName {
        MemberName::new(name).expect("a good name")
    }

    fn listed(who: &str) -> Listed {
        Listed {
            name: name(who),
            peer_address: format!("{who}:2380"),
            liveness_address: format!("{who}:2382"),
            client_address: format!("{who}:2379"),
        }
    }

    fn config(me: &str, group: &[&str]) -> ReplicaConfig {
        ReplicaConfig {
            name: name(me),
            listed: group.iter().map(|who| listed(who)).collect(),
            joins: false,
            profile: Profile::Zone,
            snapshot: SnapshotEvery::default(),
            session_grace: Duration::from_secs(1),
            compaction: None,
            orphan_grace: None,
            version: String::new(),
        }
    }

    #[test]
    fn lists_that_can_form_a_group() {
        for group in [&["a"][..], &["c", "a", "b"], &["a", "b", "c", "d", "e"]] {
            let checked = config("a", group).checked().expect("a good list");
            assert!(checked.listed.is_sorted());
        }
        let joins = ReplicaConfig {
            joins: true,
            ..config("d", &["a", "b", "c", "d"])
        };
        assert!(joins.checked().is_ok());
    }

    #[test]
    fn lists_that_cannot() {
        let mut same_port = config("a", &["a", "b", "c"]);
        same_port.listed[1].liveness_address = "a:2380".to_owned();
        let mut no_port = config("a", &["a", "b", "c"]);
        no_port.listed[2].client_address = "c".to_owned();
        let cause = check_address("c").expect_err("no port");
        let cases = [
            (config("a", &[]), ConfigError::GroupSize(0)),
            (config("a", &["a", "b"]), ConfigError::GroupSize(2)),
            (
                ReplicaConfig {
                    joins: true,
                    ..config("a", &["a"])
                },
                ConfigError::NobodyToJoin,
            ),
            (
                ReplicaConfig {
                    joins: true,
                    ..config("x", &["a", "b"])
                },
                ConfigError::NotListed(name("x")),
            ),
            (config("a", &["a", "b", "b"]), ConfigError::NameTwice(name("b"))),
            (config("x", &["a", "b", "c"]), ConfigError::NotListed(name("x"))),
            (same_port, ConfigError::AddressTwice("a:2380".to_owned())),
            (
                no_port,
                ConfigError::Address {
                    name: name("c"),
                    cause,
                },
            ),
        ];
        for (config, want) in cases {
            assert_eq!(config.checked().map(|_| ()), Err(want));
        }
    }
}
