//! How a client is made.
//!
//! Promises: what is wrong with the addresses is told at once, before anything is dialled. Left out on purpose:
//! waiting for the cluster; see [`Client::ready`].

use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Network, Tcp};
use quorate_tls::{ClientFiles, ClientTls};
use quorate_types::check_address;

use crate::client::Client;
use crate::core::Core;
use crate::error::Error;

/// How long a call may take when nothing else is said.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);
/// Seeds of one client: more than any group has replicas.
const SEEDS_MAX: usize = 16;

/// Settings of a [`Client`].
#[derive(Clone)]
pub struct Builder {
    seeds: Vec<String>,
    network: Arc<dyn Network>,
    deadline: Duration,
    tls: Option<ClientFiles>,
}

impl Builder {
    pub(crate) fn new(seeds: Vec<String>) -> Self {
        Self {
            seeds,
            network: Arc::new(Tcp),
            deadline: PATIENCE_DEFAULT,
            tls: None,
        }
    }

    /// Dials through this network instead of TCP.
    #[must_use]
    pub fn network(mut self, network: Arc<dyn Network>) -> Self {
        self.network = network;
        self
    }

    /// Speaks TLS with the replicas, which have to show a certificate of this CA. The files are read again when they change.
    #[must_use]
    pub fn tls(mut self, files: ClientFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// How long a call may take, unless its handle says otherwise ([`Client::with_deadline`]). 10 seconds by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the client. It dials in the background; a cluster that is not there yet is no error.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are no seeds, too many, or one that is not `host:port`, and when a file for TLS cannot be
    /// used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(self) -> Result<Client, Error> {
        if self.seeds.is_empty() {
            return Err(Error::invalid(
                "seeds",
                "there are none; name at least one replica as host:port",
            ));
        }
        if self.seeds.len() > SEEDS_MAX {
            let given = self.seeds.len();
            return Err(Error::invalid(
                "seeds",
                format!("there are {given}; at most {SEEDS_MAX} are taken"),
            ));
        }
        for seed in &self.seeds {
            check_address(seed).map_err(|error| Error::invalid("seeds", error.to_string()))?;
        }
        let tls = self.tls.as_ref().map(ClientTls::load).transpose();
        let tls = tls.map_err(|error| Error::invalid(error.file().setting(), error.line()))?;
        let network = match &tls {
            Some(tls) => tls.network(self.network),
            None => self.network,
        };
        let core = Core::start(self.seeds, network);
        if let Some(tls) = tls {
            core.keep_fresh(tls);
        }
        Ok(Client::new(core, self.deadline))
    }
}
