//! Certificates for tests: a CA that exists for one test, and what it signs.
//!
//! Promises: nothing is read from the machine, and each key is fresh. Left out on purpose: everything that real CAs are for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};

const BROKEN: &str = "a certificate for a test can always be made";

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a certificate is to be.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Its common name.
    pub name: &'a str,
    /// Host names and addresses that it is for.
    pub hosts: &'a [&'a str],
    /// When it begins to be valid, seconds from now.
    pub from_s: i64,
    /// When it ends, seconds from now.
    pub until_s: i64,
    /// Whether servers may use it.
    pub server: bool,
    /// Whether clients may use it.
    pub client: bool,
}

impl Wanted<'_> {
    /// A certificate for servers and clients of this machine, from a day ago for a year.
    pub const LOOPBACK: Wanted<'static> = Wanted {
        name: "a test",
        hosts: &["127.0.0.1", "localhost"],
        from_s: -86_400,
        until_s: 365 * 86_400,
        server: true,
        client: true,
    };
}

/// A certificate and its key.
pub struct Issued {
    /// The certificate, PEM.
    pub cert: String,
    /// Its key, PEM.
    pub key: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

/// Where a certificate, its key and a CA were written.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The CA that signed it.
    pub ca: PathBuf,
}

impl Authority {
    /// A new CA of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect(BROKEN);
        Self(CertifiedIssuer::self_signed(params, key).expect(BROKEN))
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate with a new key.
    #[must_use]
    pub fn issue(&self, wanted: &Wanted<'_>) -> Issued {
        let hosts: Vec<String> = wanted.hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect(BROKEN);
        params.distinguished_name.push(DnType::CommonName, wanted.name);
        let purposes = [
            (wanted.server, ExtendedKeyUsagePurpose::ServerAuth),
            (wanted.client, ExtendedKeyUsagePurpose::ClientAuth),
        ];
        let allowed = purposes.into_iter().filter(|(is_wanted, _)| *is_wanted);
        params.extended_key_usages = allowed.map(|(_, purpose)| purpose).collect();
        let at = |from_now_s| date_time_ymd(1970, 1, 1) + Duration::from_secs(from_now(from_now_s));
        (params.not_before, params.not_after) = (at(wanted.from_s), at(wanted.until_s));
        let key = KeyPair::generate().expect(BROKEN);
        let cert = params.signed_by(&key, &self.0).expect(BROKEN);
        Issued {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().to_vec(),
        }
    }

    /// Signs a certificate and writes it, its key and this CA into `directory`, over what was there.
    #[must_use]
    pub fn write(&self, directory: &Path, wanted: &Wanted<'_>) -> Paths {
        let issued = self.issue(wanted);
        let write = |name: &str, content: &str| {
            let path = directory.join(name);
            fs::create_dir_all(directory).expect("a directory for certificates");
            fs::write(&path, content).expect("room for certificates");
            path
        };
        Paths {
            cert: write("cert.pem", &issued.cert),
            key: write("key.pem", &issued.key),
            ca: write("ca.pem", &self.pem()),
        }
    }
}

/// So many seconds from now, since the epoch.
fn from_now(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().saturating_add_signed(seconds)
}
