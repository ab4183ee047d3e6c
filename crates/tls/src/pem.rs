//! Reading the files: bounded, and nothing of their content in a message, because one of them is a secret.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{File, TlsError};

/// A larger file is none of ours; a bundle of every public CA has a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file as it was read. It has no `Debug`: it may be a key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    bytes: Vec<u8>,
}

impl Content {
    /// Reads `path`, which has to be `file`.
    pub(crate) fn read(file: File, path: &Path) -> Result<Self, TlsError> {
        let unreadable = |cause| TlsError::Unreadable {
            file,
            path: path.to_owned(),
            cause,
        };
        let content = |bytes| Self {
            file,
            path: path.to_owned(),
            bytes,
        };
        // Not a pipe or a device: opening one may wait for ever.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(content(Vec::new()).not_pem("is not a file"));
        }
        let mut bytes = Vec::new();
        let opened = fs::File::open(path).map_err(unreadable)?;
        let read = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        if read.map_err(unreadable)? as u64 > FILE_BYTES_MAX {
            return Err(TlsError::TooLarge {
                file,
                path: path.to_owned(),
                bytes_max: FILE_BYTES_MAX,
            });
        }
        Ok(content(bytes))
    }

    /// All certificates in it, at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.not_pem(self.emptiness("holds no certificate"))),
            Ok(found) => Ok(found),
            Err(_) => Err(self.not_pem("is damaged")),
        }
    }

    /// The private key in it.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        use rustls::pki_types::pem::Error;
        match PrivateKeyDer::from_pem_slice(&self.bytes) {
            Ok(key) => Ok(key),
            Err(Error::NoItemsFound) if self.mentions(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
                Err(self.not_pem("is encrypted with a passphrase"))
            }
            Err(Error::NoItemsFound) => Err(self.not_pem(self.emptiness("holds no private key"))),
            Err(_) => Err(self.not_pem("is damaged")),
        }
    }

    /// What is in it is no use, and why.
    pub(crate) fn unusable(&self, cause: rustls::Error) -> TlsError {
        TlsError::Unusable {
            file: self.file,
            path: self.path.clone(),
            cause: Box::new(cause),
        }
    }

    fn mentions(&self, words: &[u8]) -> bool {
        self.bytes.windows(words.len()).any(|window| window == words)
    }

    fn emptiness(&self, otherwise: &'static str) -> &'static str {
        if self.bytes.is_empty() {
            "is empty"
        } else {
            otherwise
        }
    }

    fn not_pem(&self, why: &'static str) -> TlsError {
        TlsError::NotPem {
            file: self.file,
            path: self.path.clone(),
            why,
            wanted: match self.file {
                File::Certificate => "the certificate and, below it, the intermediate ones",
                File::Key => "the certificate's key, not encrypted",
                File::Ca | File::ClientCa => "the certificates of the CA",
            },
        }
    }
}
