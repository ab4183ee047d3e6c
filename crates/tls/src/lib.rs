//! TLS for every socket between replicas and towards clients: a layer over [`quorate_host::Network`].
//!
//! Promises: TLS 1.3 and nothing below it, but for clients, who may come with 1.2. Between replicas both sides show a
//! certificate of the replicas' CA, and who dials also checks that it is for the host that it wanted; to clients a replica
//! shows its certificate, and asks for theirs when it was given a CA for them. What is wrong with the files is one clear line
//! before anything is opened. The files are read again while the program runs: new connections use what is new, a broken new
//! file leaves everything as it was. A failed handshake is never reported as a refused connection, because that would be
//! evidence of a death.
//!
//! Left out on purpose: revocation lists (replace the CA, or let certificates live shortly), TLS on the HTTP port,
//! session resumption (it would outlive a change of the CA), and connections that stand: they keep the certificate that
//! they were opened with.

mod accept;
mod certificate;
mod client;
mod dial;
mod error;
mod kept;
mod material;
mod pem;
mod replica;

pub use client::{ClientFiles, ClientTls};
pub use error::{File, TlsError};
pub use kept::LOOK_EVERY;
pub use replica::{ReplicaFiles, ReplicaTls};
