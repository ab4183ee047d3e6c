//! Why a coordinator did not start: one line each, which says what to do.

use std::fmt;
use std::io;

use quorate_etcd::LeasePolicyError;
use quorate_replica::ConfigError;
use quorate_store::OpenError;
use quorate_tls::TlsError;
use quorate_types::{MemberName, NameError};

/// See the module. Nothing was left behind: what had been opened is closed again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No name was given.
    #[error("the replica has no name; give it one of those in the list of replicas")]
    NoName,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The list of replicas cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address in the list has no port that others could dial.
    #[error("the address {address} of replica {name} has port 0; list the port on which the others reach it")]
    PortZero {
        /// Whose.
        name: MemberName,
        /// The address.
        address: String,
    },
    /// The policy of leases would cost living clients theirs.
    #[error(transparent)]
    Leases(#[from] LeasePolicyError),
    /// There is nowhere to put the data.
    #[error("there is no place for the data; give a data directory")]
    NoStore,
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("{}", listen_text(.what, .address, .cause))]
    Listen {
        /// What for.
        what: Port,
        /// `host:port`.
        address: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The data directory cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Clients (gRPC).
    Clients,
    /// The other replicas (gRPC).
    Peers,
    /// The liveness links.
    Liveness,
    /// Probes, metrics and the status page.
    Http,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "clients",
            Self::Peers => "peers",
            Self::Liveness => "liveness links",
            Self::Http => "HTTP",
        })
    }
}

fn listen_text(what: &Port, address: &str, cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the address {address} (for {what}) is in use; stop the program that has it, or choose another port"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "the address {address} (for {what}) is not one of this machine's; bind to one that is, or to 0.0.0.0"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "the address {address} (for {what}) may not be listened on; choose a port above 1023, or another user"
        ),
        _ => format!("the address {address} (for {what}) cannot be listened on; check the host and the port"),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn every_reason_is_one_line_that_says_what_to_do() {
        let listen = |kind: io::ErrorKind| StartError::Listen {
            what: Port::Peers,
            address: "0.0.0.0:2380".to_owned(),
            cause: kind.into(),
        };
        let cases = [
            (
                listen(io::ErrorKind::AddrInUse),
                "the address 0.0.0.0:2380 (for peers) is in use; stop",
                true,
            ),
            (
                listen(io::ErrorKind::AddrNotAvailable),
                "is not one of this machine's; bind",
                true,
            ),
            (
                listen(io::ErrorKind::PermissionDenied),
                "choose a port above 1023",
                true,
            ),
            (listen(io::ErrorKind::Other), "check the host and the port", true),
            (StartError::NoName, "has no name; give it", false),
            (StartError::NoStore, "give a data directory", false),
            (StartError::Name(NameError::Empty), "name is empty", false),
            (
                StartError::Config(ConfigError::GroupSize(2)),
                "list 1, 3 or 5",
                false,
            ),
        ];
        for (error, want, has_cause) in cases {
            let line = error.to_string();
            assert!(line.contains(want) && !line.contains('\n'), "{line}");
            assert_eq!(error.source().is_some(), has_cause, "{line}");
        }
    }
}
