//! TLS of one replica.
//!
//! Promises: what would make the other replicas refuse this one (another CA, a name that is missing, a purpose that is not
//! allowed) is found before anything is opened. Replicas speak TLS 1.3 with each other; clients may come with 1.2, and
//! nothing older. Left out on purpose: a certificate for each port; one serves all three.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_host::{Listener, Network};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ServerConfig};
use rustls::version::{TLS12, TLS13};

use crate::accept::Accepting;
use crate::certificate::Facts;
use crate::dial::{Dialling, host, server_name};
use crate::error::{File, TlsError};
use crate::kept::{Kept, Material};
use crate::material::{H2, Own, accepting, clients_of, dialling, own, roots, servers_of, split};
use crate::pem::Content;

/// Where a replica's files are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaFiles {
    /// The replica's certificate, for servers and for clients, with the intermediate ones below it. It names every host
    /// under which the replica is listed.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA of all replicas. Whoever has a certificate of it may act as a replica: let it sign nothing else.
    pub ca: PathBuf,
    /// The CA of clients. With it, clients have to show a certificate.
    pub client_ca: Option<PathBuf>,
}

/// See the module. Its clones are one.
#[derive(Clone)]
pub struct ReplicaTls(Arc<Kept<Configs>>);

struct Configs {
    facts: Facts,
    dialling: Arc<ClientConfig>,
    replicas: Arc<ServerConfig>,
    clients: Arc<ServerConfig>,
}

impl Material for Configs {
    fn certificate(&self) -> Option<&Facts> {
        Some(&self.facts)
    }
}

impl ReplicaTls {
    /// Reads the files of a replica that others dial at `addresses`, each `host:port`, and checks them as they would.
    ///
    /// # Errors
    /// [`TlsError`] says what to mend.
    pub fn load<'a>(
        files: &ReplicaFiles,
        addresses: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, TlsError> {
        let hosts: BTreeSet<String> = addresses
            .into_iter()
            .map(|address| host(address).to_owned())
            .collect();
        let mut paths = vec![
            (File::Certificate, files.cert.clone()),
            (File::Key, files.key.clone()),
            (File::Ca, files.ca.clone()),
        ];
        paths.extend(files.client_ca.clone().map(|path| (File::ClientCa, path)));
        let build = Box::new(move |contents: &[Content], now| build(contents, &hosts, now));
        Ok(Self(Arc::new(Kept::load(paths, build, UnixTime::now())?)))
    }

    /// The network between replicas: both sides show a certificate of the replicas' CA, and that of the dialled side is
    /// for the dialled host.
    #[must_use]
    pub fn replicas(&self, below: Arc<dyn Network>) -> Arc<dyn Network> {
        let (dial, accept) = (Arc::clone(&self.0), Arc::clone(&self.0));
        Arc::new(Dialling::new(
            below,
            Box::new(move || Arc::clone(&dial.current().dialling)),
            Some(Box::new(move |listener| {
                let kept = Arc::clone(&accept);
                Accepting::listener(listener, Box::new(move || Arc::clone(&kept.current().replicas)))
            })),
        ))
    }

    /// What clients dial: the replica shows its certificate, and they theirs when there is a CA for them.
    #[must_use]
    pub fn clients(&self, listener: Listener) -> Listener {
        let kept = Arc::clone(&self.0);
        Accepting::listener(listener, Box::new(move || Arc::clone(&kept.current().clients)))
    }

    /// Tells which certificate is in use, then reads the files again every [`LOOK_EVERY`](crate::LOOK_EVERY) and warns
    /// when the certificate nears its end. It does not return; its owner drops it.
    pub async fn keep_fresh(self) {
        self.0.keep_fresh().await;
    }
}

fn build(contents: &[Content], hosts: &BTreeSet<String>, now: UnixTime) -> Result<Configs, TlsError> {
    let find = |file| contents.iter().find(|content| content.file == file);
    let (Some(cert), Some(key), Some(ca)) = (find(File::Certificate), find(File::Key), find(File::Ca)) else {
        unreachable!("a replica's list of files has all three");
    };
    let own = own(cert, key, now)?;
    let trusted = roots(ca)?;
    let servers = servers_of(ca, Arc::clone(&trusted))?;
    let replicas = clients_of(ca, trusted)?;
    as_others_see_it(cert, ca, &own, &servers, &*replicas, hosts, now)?;
    let clients = match find(File::ClientCa) {
        Some(ca) => clients_of(ca, roots(ca)?)?,
        None => Arc::new(NoClientAuth),
    };
    let unusable = |error| cert.unusable(error);
    Ok(Configs {
        dialling: dialling(servers, Some(&own), &[]).map_err(unusable)?,
        replicas: accepting(&own, replicas, &[&TLS13], &[]).map_err(unusable)?,
        // Clients of etcd 3.5.0 to 3.5.7 (etcdctl, and what uses that release's package for TLS) speak 1.2 and nothing newer.
        clients: accepting(&own, clients, &[&TLS13, &TLS12], &[H2]).map_err(unusable)?,
        facts: own.facts,
    })
}

fn as_others_see_it(
    cert: &Content,
    ca: &Content,
    own: &Own,
    servers: &WebPkiServerVerifier,
    replicas: &dyn ClientCertVerifier,
    hosts: &BTreeSet<String>,
    now: UnixTime,
) -> Result<(), TlsError> {
    let refused = |by: String, cause| TlsError::Refused {
        cert: cert.path.clone(),
        subject: own.facts.subject.clone(),
        by,
        cause: Box::new(cause),
    };
    let Some((first, below)) = split(own) else {
        return Ok(());
    };
    let ca = ca.path.display();
    replicas.verify_client_cert(first, below, now).map_err(|cause| {
        let by = format!("by the other replicas; let the CA in {ca} sign it, for servers and for clients");
        refused(by, cause)
    })?;
    for host in hosts {
        let verified = server_name(host)
            .map_err(|error| rustls::Error::General(error.to_string()))
            .and_then(|name| servers.verify_server_cert(first, below, &name, &[], now));
        verified.map_err(|cause| {
            let by = format!("by whoever dials this replica as {host:?}; let it name that host");
            refused(by, cause)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
