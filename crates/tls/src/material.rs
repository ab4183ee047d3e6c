//! From the content of the files to what rustls works with.
//!
//! Promises: certificate and key belong together and are of this time; the other side's certificate is always verified.
//! Left out on purpose: who has to show one; see [`crate::replica`] and [`crate::client`].

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::certificate::Facts;
use crate::error::TlsError;
use crate::pem::Content;

/// What gRPC speaks; clients in other languages insist on hearing it.
pub(crate) const H2: &[u8] = b"h2";

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) facts: Facts,
}

/// The cryptography; the process's default is not asked, because others may have set it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads certificate and key, and checks that they belong together and are of this time.
pub(crate) fn own(cert: &Content, key: &Content, now: UnixTime) -> Result<Own, TlsError> {
    let (chain, secret) = (cert.certificates()?, key.key()?);
    let facts = chain.first().and_then(|first| Facts::read(first));
    let facts = facts.ok_or_else(|| cert.unusable(rustls::CertificateError::BadEncoding.into()))?;
    let out_of_time = |validity| TlsError::OutOfTime {
        cert: cert.path.clone(),
        subject: facts.subject.clone(),
        validity,
    };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > facts.not_after.unix_s {
        return Err(out_of_time(format!("expired at {}", facts.not_after)));
    }
    if now < facts.not_before.unix_s {
        return Err(out_of_time(format!("is not valid before {}", facts.not_before)));
    }
    let pair = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch {
            cert: cert.path.clone(),
            key: key.path.clone(),
        },
        rustls::Error::InvalidCertificate(_) => cert.unusable(error),
        error => key.unusable(error),
    })?;
    let key = Arc::new(pair);
    Ok(Own { key, facts })
}

/// Reads a CA: every certificate in the file is trusted, so that the old and the new one can stand there while they change.
pub(crate) fn roots(ca: &Content) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in ca.certificates()? {
        roots.add(certificate).map_err(|error| ca.unusable(error))?;
    }
    Ok(Arc::new(roots))
}

/// Verifies servers of a CA.
pub(crate) fn servers_of(
    ca: &Content,
    roots: Arc<RootCertStore>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| ca.unusable(rustls::Error::General(error.to_string())))
}

/// Verifies clients of a CA.
pub(crate) fn clients_of(
    ca: &Content,
    roots: Arc<RootCertStore>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| ca.unusable(rustls::Error::General(error.to_string())))
}

/// How connections are accepted, in one of these versions of TLS.
pub(crate) fn accepting(
    own: &Own,
    clients: Arc<dyn ClientCertVerifier>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.key))));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session would not be verified anew; without a ticketer there are no tickets of TLS 1.2 either.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// How connections are dialled.
pub(crate) fn dialling(
    servers: Arc<WebPkiServerVerifier>,
    own: Option<&Own>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_webpki_verifier(servers);
    let mut config = match own {
        Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own.key)))),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The first certificate of a chain and those below it.
pub(crate) fn split<'a>(own: &'a Own) -> Option<(&'a CertificateDer<'a>, &'a [CertificateDer<'a>])> {
    own.key.cert.split_first()
}
