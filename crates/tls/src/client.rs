//! TLS of a client of the cluster.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_host::Network;
use rustls::ClientConfig;
use rustls::pki_types::UnixTime;

use crate::certificate::Facts;
use crate::dial::Dialling;
use crate::error::{File, TlsError};
use crate::kept::{Kept, Material};
use crate::material::{H2, dialling, own, roots, servers_of};
use crate::pem::Content;

/// Where a client's files are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CA that signs the certificates of the replicas.
    pub ca: PathBuf,
    /// The client's own certificate and its key, where the replicas ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// See the module. Its clones are one.
#[derive(Clone)]
pub struct ClientTls(Arc<Kept<Config>>);

struct Config {
    facts: Option<Facts>,
    dialling: Arc<ClientConfig>,
}

impl Material for Config {
    fn certificate(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] says what to mend.
    pub fn load(files: &ClientFiles) -> Result<Self, TlsError> {
        let mut paths = vec![(File::Ca, files.ca.clone())];
        if let Some((cert, key)) = files.identity.clone() {
            paths.extend([(File::Certificate, cert), (File::Key, key)]);
        }
        Ok(Self(Arc::new(Kept::load(
            paths,
            Box::new(build),
            UnixTime::now(),
        )?)))
    }

    /// A network that dials replicas through TLS. It does not listen.
    #[must_use]
    pub fn network(&self, below: Arc<dyn Network>) -> Arc<dyn Network> {
        let kept = Arc::clone(&self.0);
        let config = Box::new(move || Arc::clone(&kept.current().dialling));
        Arc::new(Dialling::new(below, config, None))
    }

    /// Reads the files again every [`LOOK_EVERY`](crate::LOOK_EVERY). It does not return; its owner drops it.
    pub async fn keep_fresh(self) {
        self.0.keep_fresh().await;
    }
}

fn build(contents: &[Content], now: UnixTime) -> Result<Config, TlsError> {
    let find = |file| contents.iter().find(|content| content.file == file);
    let Some(ca) = find(File::Ca) else {
        unreachable!("a client's list of files has the CA");
    };
    let servers = servers_of(ca, roots(ca)?)?;
    let own = match (find(File::Certificate), find(File::Key)) {
        (Some(cert), Some(key)) => Some(own(cert, key, now)?),
        _ => None,
    };
    Ok(Config {
        dialling: dialling(servers, own.as_ref(), &[H2]).map_err(|error| ca.unusable(error))?,
        facts: own.map(|own| own.facts),
    })
}
