//! What is wrong with the files: one line each, which names the file and says what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A file of a TLS configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// The certificate that is shown, with the intermediate ones below it.
    Certificate,
    /// Its private key.
    Key,
    /// The CA that signs the certificates of replicas.
    Ca,
    /// The CA that signs the certificates of clients.
    ClientCa,
}

impl File {
    /// The setting that names it, in words that a flag, a key and a variable share.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Certificate => "tls-cert",
            Self::Key => "tls-key",
            Self::Ca => "tls-ca",
            Self::ClientCa => "tls-client-ca",
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Ca => "CA",
            Self::ClientCa => "clients' CA",
        })
    }
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file is not there or may not be read.
    #[error("the TLS {file} {} cannot be read; check the path and its permissions", path.display())]
    Unreadable {
        /// Which.
        file: File,
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// It is too large to be one.
    #[error("the TLS {file} {} has more than {bytes_max} bytes; name a PEM file", path.display())]
    TooLarge {
        /// Which.
        file: File,
        /// Where.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// It holds nothing of the kind.
    #[error("the TLS {file} {} {why}; name a PEM file with {wanted}", path.display())]
    NotPem {
        /// Which.
        file: File,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
        /// What should be in it.
        wanted: &'static str,
    },
    /// What is in it cannot be used.
    #[error("the TLS {file} {} cannot be used", path.display())]
    Unusable {
        /// Which.
        file: File,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<rustls::Error>,
    },
    /// Certificate and key do not belong together.
    #[error("the TLS private key {} is not that of the certificate {}; give the two that belong together",
        key.display(), cert.display())]
    KeyMismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Its time is over or has not come.
    #[error("the TLS certificate {} ({subject}) {validity}; renew it, or set the clock", cert.display())]
    OutOfTime {
        /// The certificate.
        cert: PathBuf,
        /// Whose it is.
        subject: String,
        /// "expired at", "is not valid before".
        validity: String,
    },
    /// The other replicas would refuse it.
    #[error("the TLS certificate {} ({subject}) would be refused {by}", cert.display())]
    Refused {
        /// The certificate.
        cert: PathBuf,
        /// Whose it is.
        subject: String,
        /// By whom, and what to do.
        by: String,
        /// Why.
        #[source]
        cause: Box<rustls::Error>,
    },
}

impl TlsError {
    /// The file that is to be mended.
    #[must_use]
    pub fn file(&self) -> File {
        match self {
            Self::Unreadable { file, .. }
            | Self::TooLarge { file, .. }
            | Self::NotPem { file, .. }
            | Self::Unusable { file, .. } => *file,
            Self::KeyMismatch { .. } => File::Key,
            Self::OutOfTime { .. } | Self::Refused { .. } => File::Certificate,
        }
    }

    /// The error and its causes in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(&format!(": {error}"));
            cause = error.source();
        }
        line
    }
}
