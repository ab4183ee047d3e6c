//! How a command reaches a cluster: the flags that all of them take.
//!
//! Promises: what is wrong with an address or a time is told before anything is dialled. Left out on purpose: what is
//! asked; each command says that.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;
use quorate_client::{Client, TlsFiles, v1};
use quorate_types::check_address;
use tokio::runtime::Builder;

use crate::exit::Failure;
use crate::output::{Format, Output};

/// Longest time that a command may be given, milliseconds: a day, as the client has it.
const DEADLINE_MS_MAX: u64 = 86_400_000;

/// See the module.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster and output")]
pub(crate) struct Connection {
    /// Replicas to begin with, as host:port,host:port; one that runs is enough, the others are found from there
    #[arg(
        long,
        global = true,
        env = "QUORATE_SEEDS",
        value_name = "ADDRESSES",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379",
        value_parser = seed
    )]
    seeds: Vec<String>,

    /// Speak TLS with replicas whose certificate is of this CA, PEM
    #[arg(long, global = true, env = "QUORATE_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// The certificate to show to replicas that ask for one, PEM
    #[arg(long, global = true, env = "QUORATE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, PEM
    #[arg(long, global = true, env = "QUORATE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// How the result is shown: tables for people, or JSON, one object a line
    #[arg(long, global = true, value_enum, default_value_t)]
    output: Format,

    /// How long to wait for the cluster, milliseconds
    #[arg(
        long,
        global = true,
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = value_parser!(u64).range(1..=DEADLINE_MS_MAX)
    )]
    deadline_ms: u64,
}

impl Connection {
    /// A client of the cluster. It dials in the background.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = Client::builder(self.seeds.iter().map(String::as_str)).deadline(self.deadline());
        let client = match self.tls()? {
            Some(files) => client.tls(files),
            None => client,
        };
        client
            .connect()
            .map_err(|error| Failure::Usage(format!("--{error}")))
    }

    fn tls(&self) -> Result<Option<TlsFiles>, Failure> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(half("--tls-key")),
            (None, Some(_)) => return Err(half("--tls-cert")),
        };
        match &self.tls_ca {
            Some(ca) => Ok(Some(TlsFiles {
                ca: ca.clone(),
                identity,
            })),
            None if identity.is_some() => Err(half("--tls-ca")),
            None => Ok(None),
        }
    }

    /// How long the command may wait for the cluster.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// How the result is to be shown.
    pub(crate) fn format(&self) -> Format {
        self.output
    }

    /// Where the result goes.
    pub(crate) fn output(&self) -> Output {
        Output { format: self.output }
    }
}

fn half(missing: &str) -> Failure {
    Failure::Usage(format!(
        "TLS is half configured: {missing} is not given; give --tls-ca alone, or with --tls-cert and --tls-key"
    ))
}

fn seed(text: &str) -> Result<String, String> {
    let text = text.trim();
    match check_address(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a command that talks to a cluster.
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // One worker of its own, so that connections live on while the output waits for its reader.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::Failed(format!("the runtime cannot be started: {error}")))?;
    runtime.block_on(command)
}

/// Waits until any replica answers, also in a group without a leader.
pub(crate) async fn reached(client: &Client) -> Result<(), Failure> {
    let stale = client.stale_root();
    let request = v1::ListDatabasesRequest {
        page: Some(v1::Page {
            rows: 1,
            token: String::new(),
        }),
    };
    let answered = async {
        // The other branch tells why nobody answers.
        if stale.list_databases(request).await.is_err() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        ready = client.ready() => Ok(ready.map(drop)?),
        () = answered => Ok(()),
    }
}
