//! The flags of `serve`; each has an environment variable and, but for `--config`, a key in the file.

use std::path::PathBuf;

use clap::Args;

const AFTER_HELP: &str = "\
Example, on each of three hosts with its own --name:
  quorate serve --name a --replicas a=10.0.0.1,b=10.0.0.2,c=10.0.0.3 --data-dir /var/lib/quorate

SIGTERM hands leadership over, drains and exits; no call fails meanwhile. `quorate config` prints a commented file.";

/// Flags and environment; what is absent here may stand in the file.
#[derive(Debug, Default, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// A TOML file with settings; flags and the environment go before it
    #[arg(long, env = "QUORATE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// This replica's name in the list [default: the host's name up to the first dot]
    #[arg(long, env = "QUORATE_NAME", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// All replicas, the same list at each, separated by commas: NAME=HOST (ports 2379 for clients, 2380 for peers, 2382
    /// for liveness) or NAME=HOST:CLIENTS/PEERS/LIVENESS
    #[arg(long, env = "QUORATE_REPLICAS", value_name = "LIST")]
    pub(crate) replicas: Option<String>,

    /// Instead of --replicas: the domain under which the replicas of a StatefulSet have their names. A replica called NAME-1
    /// is at NAME-1.DOMAIN (ports 2379, 2380, 2382), and forms a group with NAME-0 and so on, --group-size of them; one
    /// with a higher number joins
    #[arg(long, env = "QUORATE_PEERS_DNS", value_name = "DOMAIN")]
    pub(crate) peers_dns: Option<String>,

    /// How many replicas form the group at first, with --peers-dns: 1, 3 or 5 [default: 3]
    #[arg(long, env = "QUORATE_GROUP_SIZE", value_name = "N")]
    pub(crate) group_size: Option<u32>,

    /// Only join a running cluster, never form one; the list names this replica and members of that cluster
    #[arg(long, env = "QUORATE_JOIN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) join: Option<bool>,

    /// Where the replica keeps its log and snapshots; made when missing [default: quorate-data]
    #[arg(long, env = "QUORATE_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The address on which the replica's own three ports are opened [default: 0.0.0.0]
    #[arg(long, env = "QUORATE_BIND", value_name = "HOST")]
    pub(crate) bind: Option<String>,

    /// Where probes, metrics and the status page are, or `off` [default: 0.0.0.0:9091]
    #[arg(long, env = "QUORATE_HTTP", value_name = "ADDRESS")]
    pub(crate) http: Option<String>,

    /// This replica's certificate, PEM: with --tls-key and --tls-ca, all ports but HTTP speak TLS. The files are read again
    /// when they change
    #[arg(long, env = "QUORATE_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The key of --tls-cert, PEM
    #[arg(long, env = "QUORATE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// The CA of the replicas' certificates, PEM: replicas accept nobody else as a replica
    #[arg(long, env = "QUORATE_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Clients have to show a certificate of this CA, PEM [default: they need none]
    #[arg(long, env = "QUORATE_TLS_CLIENT_CA", value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// Timeouts for a silent leader: lan (one rack), zone (zones of one region) or region [default: zone]
    #[arg(long, env = "QUORATE_PROFILE", value_name = "PROFILE")]
    pub(crate) profile: Option<String>,

    /// A worker's session dies this long after its stream broke, unless it resumes [default: 1000]
    #[arg(long, env = "QUORATE_SESSION_GRACE_MS", value_name = "MS")]
    pub(crate) session_grace_ms: Option<u64>,

    /// How etcd's history is forgotten by itself: periodic (by time) or revision (by their number) [default: periodic]
    #[arg(long, env = "QUORATE_AUTO_COMPACTION_MODE", value_name = "MODE")]
    pub(crate) auto_compaction_mode: Option<String>,

    /// How much of etcd's history is kept: hours or a time as 10m, or so many revisions; 0 forgets nothing by itself
    /// [default: 0]
    #[arg(long, env = "QUORATE_AUTO_COMPACTION_RETENTION", value_name = "RETENTION")]
    pub(crate) auto_compaction_retention: Option<String>,

    /// A lease of etcd's whose keeper's connection broke is revoked after this, unless there is a sign of life: off, or 800ms or
    /// longer. The same at all replicas [default: off]
    #[arg(long, env = "QUORATE_LEASE_ORPHAN_GRACE", value_name = "TIME")]
    pub(crate) lease_orphan_grace: Option<String>,

    /// With --lease-orphan-grace: a client that does not answer pings is taken for gone after this [default: 10s]
    #[arg(long, env = "QUORATE_LEASE_SILENT_AFTER", value_name = "TIME")]
    pub(crate) lease_silent_after: Option<String>,

    /// Longest time to live of a lease of etcd's; who asks for more gets this [default: as asked for]
    #[arg(long, env = "QUORATE_LEASE_TTL_MAX_S", value_name = "SECONDS")]
    pub(crate) lease_ttl_max_s: Option<u64>,

    /// Log entries between two snapshots [default: 20000]
    #[arg(long, env = "QUORATE_SNAPSHOT_EVERY", value_name = "ENTRIES")]
    pub(crate) snapshot_every: Option<u64>,

    /// Log entries kept behind a snapshot for replicas that lag [default: 2000]
    #[arg(long, env = "QUORATE_SNAPSHOT_KEEP", value_name = "ENTRIES")]
    pub(crate) snapshot_keep: Option<u64>,

    /// How long a stop waits for clients' calls to end [default: 5000]
    #[arg(long, env = "QUORATE_DRAIN_MS", value_name = "MS")]
    pub(crate) drain_ms: Option<u64>,

    /// What is logged: a level, or a list as `info,quorate_replica=debug` [default: info]
    #[arg(long, env = "QUORATE_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How log lines look: text or json [default: text]
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,

    /// The process that started this one; this one is killed when it ends
    #[arg(long, value_name = "PID", hide = true)]
    pub(crate) stop_with_parent: Option<u32>,
}
