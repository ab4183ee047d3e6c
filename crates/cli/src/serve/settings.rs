//! What `serve` runs with, once flags, environment and file are put together.
//!
//! Promises: every value was checked, each mistake is one line that names where to correct it; a pure function of its
//! inputs but for the host's name and the file. Left out on purpose: what the library checks anyhow (the list as a whole).

use std::path::PathBuf;
use std::time::Duration;

use quorate::{AutoCompaction, Builder, Coordinator, LeasePolicy, Listed, Profile, SnapshotEvery, TlsFiles};

use super::arguments::Arguments;
use super::file::File;
use super::value::short;
use super::{compaction, leases, replicas};
use crate::exit::Failure;

/// Replicas that form a StatefulSet's group.
const GROUP_SIZE_DEFAULT: u32 = 3;
/// Longest `session_grace_ms` and `drain_ms`: an hour.
const MS_MAX: u64 = 3_600_000;
/// Most entries between snapshots: what a restart would have to replay.
const ENTRIES_MAX: u64 = 10_000_000;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) replicas: Vec<Listed>,
    pub(crate) joins: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) bind: String,
    pub(crate) http: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) profile: Profile,
    pub(crate) session_grace: Duration,
    pub(crate) compaction: Option<AutoCompaction>,
    pub(crate) leases: LeasePolicy,
    pub(crate) snapshot: SnapshotEvery,
    pub(crate) drain: Duration,
    pub(crate) log: String,
    pub(crate) log_json: bool,
}

impl Settings {
    /// Puts everything together.
    pub(crate) fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let file = match &arguments.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        Self::merge(arguments, file, &host_name()).map_err(Failure::Usage)
    }

    fn merge(arguments: &Arguments, file: File, host: &str) -> Result<Self, String> {
        let flag = |flag: &Option<String>, key: Option<String>| flag.clone().or(key);
        let name = flag(&arguments.name, file.name).unwrap_or_else(|| host.to_owned());
        let group_size = arguments.group_size.or(file.group_size);
        let join = arguments.join.or(file.join).unwrap_or(false);
        // A list or a domain among the flags goes before both in the file.
        let in_flags = arguments.replicas.is_some() || arguments.peers_dns.is_some();
        let (list_in_file, domain_in_file) = match in_flags {
            true => (None, None),
            false => (file.replicas, file.peers_dns),
        };
        let listed = match (&arguments.replicas, list_in_file) {
            (Some(list), _) => Some(replicas::parse_list(list)?),
            (None, Some(entries)) => {
                let entries = entries.iter().map(|entry| replicas::parse(entry));
                Some(entries.collect::<Result<_, _>>()?)
            }
            (None, None) => None,
        };
        let domain = arguments.peers_dns.clone().or(domain_in_file);
        let (replicas, joins) = match (listed, domain) {
            (Some(_), Some(_)) => {
                return Err("both replicas and peers_dns are given; give one of them".to_owned());
            }
            (Some(listed), None) if group_size.is_none() => (listed, join),
            (Some(_), None) => {
                return Err(
                    "group_size goes with peers_dns; a list of replicas has its own length".to_owned(),
                );
            }
            (None, Some(domain)) => {
                let size = group_size.unwrap_or(GROUP_SIZE_DEFAULT);
                let (listed, joins) = replicas::of_stateful_set(&name, &domain, size)?;
                (listed, joins || join)
            }
            (None, None) => {
                return Err(
                    "no replicas are listed; give --replicas NAME=HOST,... or the key `replicas`, or --peers-dns in a \
                     StatefulSet (quorate dev starts a cluster on this machine)"
                        .to_owned(),
                );
            }
        };
        let path = |flag: &Option<PathBuf>, key: Option<PathBuf>| flag.clone().or(key);
        let tls = tls(
            path(&arguments.tls_cert, file.tls_cert),
            path(&arguments.tls_key, file.tls_key),
            path(&arguments.tls_ca, file.tls_ca),
            path(&arguments.tls_client_ca, file.tls_client_ca),
        )?;
        let http = flag(&arguments.http, file.http).unwrap_or_else(|| "0.0.0.0:9091".to_owned());
        let profile = match flag(&arguments.profile, file.profile) {
            Some(profile) => profile.parse().map_err(|error| format!("profile: {error}"))?,
            None => Profile::default(),
        };
        let log_json = match flag(&arguments.log_format, file.log_format).as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(format!("log_format: {:?} is neither text nor json", short(other))),
        };
        let compaction = compaction::parse(
            flag(&arguments.auto_compaction_mode, file.auto_compaction_mode).as_deref(),
            flag(
                &arguments.auto_compaction_retention,
                file.auto_compaction_retention,
            )
            .as_deref(),
        )?;
        let default = SnapshotEvery::default();
        let snapshot = SnapshotEvery {
            entries: number(
                "snapshot_every",
                arguments.snapshot_every.or(file.snapshot_every),
                default.entries,
                10,
                ENTRIES_MAX,
            )?,
            keep: number(
                "snapshot_keep",
                arguments.snapshot_keep.or(file.snapshot_keep),
                default.keep,
                0,
                ENTRIES_MAX,
            )?,
        };
        let ms = |key, flag: Option<u64>, file: Option<u64>, default| {
            number(key, flag.or(file), default, 0, MS_MAX).map(Duration::from_millis)
        };
        Ok(Self {
            name,
            replicas,
            joins,
            data_dir: arguments
                .data_dir
                .clone()
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from("quorate-data")),
            bind: flag(&arguments.bind, file.bind).unwrap_or_else(|| "0.0.0.0".to_owned()),
            http: (http != "off").then_some(http),
            tls,
            profile,
            session_grace: ms(
                "session_grace_ms",
                arguments.session_grace_ms,
                file.session_grace_ms,
                1_000,
            )?,
            compaction,
            leases: leases::policy(arguments, file.lease)?,
            snapshot,
            drain: ms("drain_ms", arguments.drain_ms, file.drain_ms, 5_000)?,
            log: flag(&arguments.log, file.log).unwrap_or_else(|| "info".to_owned()),
            log_json,
        })
    }

    /// The library's builder with these settings.
    pub(crate) fn builder(&self) -> Builder {
        let builder = Coordinator::builder()
            .name(&self.name)
            .replicas(self.replicas.clone())
            .joins(self.joins)
            .data_dir(&self.data_dir)
            .bind(&self.bind)
            .profile(self.profile)
            .snapshot(self.snapshot)
            .session_grace(self.session_grace)
            .auto_compaction(self.compaction)
            .leases(self.leases)
            .drain_timeout(self.drain);
        let builder = match &self.http {
            Some(address) => builder.http(address),
            None => builder,
        };
        match &self.tls {
            Some(files) => builder.tls(files.clone()),
            None => builder,
        }
    }
}

/// The files of TLS: all that it needs, or none.
fn tls(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<TlsFiles>, String> {
    match (cert, key, ca) {
        (Some(cert), Some(key), Some(ca)) => Ok(Some(TlsFiles {
            cert,
            key,
            ca,
            client_ca,
        })),
        (None, None, None) if client_ca.is_none() => Ok(None),
        (cert, key, ca) => {
            let all = [("tls_cert", &cert), ("tls_key", &key), ("tls_ca", &ca)];
            let missing = all.iter().filter(|(_, path)| path.is_none());
            let missing: Vec<&str> = missing.map(|(key, _)| *key).collect();
            Err(format!(
                "TLS is half configured: {} not given; give tls_cert, tls_key and tls_ca together, or no key of TLS",
                match &missing[..] {
                    [one] => format!("{one} is"),
                    several => format!("{} are", several.join(" and ")),
                }
            ))
        }
    }
}

fn number(key: &str, given: Option<u64>, default: u64, min: u64, max: u64) -> Result<u64, String> {
    match given.unwrap_or(default) {
        number if (min..=max).contains(&number) => Ok(number),
        number => Err(format!("{key}: {number} is out of range; give {min} to {max}")),
    }
}

/// The host's name up to the first dot.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Arguments {
        Arguments {
            replicas: Some("a=x,b=y,c=z".to_owned()),
            ..Arguments::default()
        }
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let file = || File {
            name: Some("b".to_owned()),
            drain_ms: Some(7),
            ..File::default()
        };
        let flags = Arguments {
            name: Some("c".to_owned()),
            ..listing()
        };
        let names = |arguments: &Arguments, file| Settings::merge(arguments, file, "a").expect("good").name;
        assert_eq!(names(&flags, file()), "c");
        assert_eq!(names(&listing(), file()), "b");
        assert_eq!(names(&listing(), File::default()), "a");
        let settings = Settings::merge(&listing(), file(), "a").expect("good");
        assert_eq!(settings.drain, Duration::from_millis(7));
        assert_eq!(settings.session_grace, Duration::from_secs(1));
        assert_eq!(settings.http.as_deref(), Some("0.0.0.0:9091"));
        let off = Arguments {
            http: Some("off".to_owned()),
            ..listing()
        };
        assert_eq!(
            Settings::merge(&off, File::default(), "a").expect("good").http,
            None
        );
        let entries = File {
            replicas: Some(vec!["a=x".to_owned()]),
            ..File::default()
        };
        let listed = Settings::merge(&Arguments::default(), entries, "a")
            .expect("good")
            .replicas;
        assert_eq!(listed.len(), 1);
    }

    #[test]
    fn one_list_counts_and_a_flag_goes_before_the_file() {
        let text = |text: &str| Some(text.to_owned());
        let set = |name: &str| Arguments {
            name: text(name),
            peers_dns: text("d.svc"),
            ..Arguments::default()
        };
        let file = |replicas: Option<&str>, peers_dns| File {
            replicas: replicas.map(|entry| vec![entry.to_owned()]),
            peers_dns,
            ..File::default()
        };
        let sized = |size, arguments| Arguments {
            group_size: Some(size),
            ..arguments
        };
        let joining = Arguments {
            join: Some(true),
            ..listing()
        };
        let cases = [
            ("the set", set("q-2"), File::default(), Ok((3, false))),
            (
                "a later one of the set",
                set("q-3"),
                File::default(),
                Ok((4, true)),
            ),
            ("five", sized(5, set("q-3")), File::default(), Ok((5, false))),
            (
                "before a list in the file",
                set("q-0"),
                file(Some("a=x"), None),
                Ok((3, false)),
            ),
            (
                "before a domain in the file",
                listing(),
                file(None, text("d")),
                Ok((3, false)),
            ),
            (
                "a domain in the file",
                Arguments::default(),
                file(None, text("d")),
                Ok((3, false)),
            ),
            ("joins", joining, File::default(), Ok((3, true))),
            (
                "both in the file",
                Arguments::default(),
                file(Some("a=x"), text("d")),
                Err("both replicas and peers_dns are given"),
            ),
            (
                "both as flags",
                Arguments {
                    peers_dns: text("d"),
                    ..listing()
                },
                File::default(),
                Err("both replicas and peers_dns are given"),
            ),
            (
                "a size of a list",
                sized(3, listing()),
                File::default(),
                Err("group_size goes with peers_dns"),
            ),
        ];
        for (case, arguments, file, want) in cases {
            let got = Settings::merge(&arguments, file, "host-0");
            match (got, want) {
                (Ok(settings), Ok(want)) => {
                    assert_eq!((settings.replicas.len(), settings.joins), want, "{case}")
                }
                (Err(why), Err(want)) => assert!(why.contains(want), "{case}: {why}"),
                (got, _) => panic!("{case}: {got:?}"),
            }
        }
    }

    #[test]
    fn tls_is_whole_or_not_there() {
        let cases = [
            ("", Ok(false)),
            ("cert key ca", Ok(true)),
            ("cert key ca client", Ok(true)),
            ("cert", Err("tls_key and tls_ca are not given")),
            ("cert key", Err("tls_ca is not given")),
            ("cert ca", Err("tls_key is not given")),
            ("key ca", Err("tls_cert is not given")),
            ("ca", Err("tls_cert and tls_key are not given")),
            ("client", Err("tls_cert and tls_key and tls_ca are not given")),
            ("cert key client", Err("tls_ca is not given")),
        ];
        for (given, want) in cases {
            let path = |word: &str| {
                given
                    .split(' ')
                    .any(|one| one == word)
                    .then(|| PathBuf::from(word))
            };
            // Half of it from flags, half from the file.
            let flags = Arguments {
                tls_cert: path("cert"),
                tls_ca: path("ca"),
                ..listing()
            };
            let file = File {
                tls_key: path("key"),
                tls_client_ca: path("client"),
                ..File::default()
            };
            let got = Settings::merge(&flags, file, "a").map(|settings| settings.tls.is_some());
            match want {
                Ok(is_there) => assert_eq!(got, Ok(is_there), "{given:?}"),
                Err(words) => assert!(got.expect_err(given).contains(words), "{given:?}"),
            }
        }
    }

    #[test]
    fn wrong_values_name_their_key() {
        let huge = "x".repeat(100_000);
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (Arguments::default(), "no replicas are listed"),
            (
                Arguments {
                    replicas: text(""),
                    ..listing()
                },
                "has no '='",
            ),
            (
                Arguments {
                    profile: text("LAN"),
                    ..listing()
                },
                "profile: \"LAN\" is no profile",
            ),
            (
                Arguments {
                    profile: text(&huge),
                    ..listing()
                },
                "profile: ",
            ),
            (
                Arguments {
                    log_format: text(&huge),
                    ..listing()
                },
                "log_format: ",
            ),
            (
                Arguments {
                    log_format: text(""),
                    ..listing()
                },
                "log_format: ",
            ),
            (
                Arguments {
                    drain_ms: Some(u64::MAX),
                    ..listing()
                },
                "drain_ms: 18446744073709551615 is out of range",
            ),
            (
                Arguments {
                    session_grace_ms: Some(MS_MAX + 1),
                    ..listing()
                },
                "session_grace_ms: ",
            ),
            (
                Arguments {
                    auto_compaction_retention: text("soon"),
                    ..listing()
                },
                "auto_compaction_retention: \"soon\" is no time",
            ),
            (
                Arguments {
                    snapshot_every: Some(0),
                    ..listing()
                },
                "snapshot_every: 0 is out of range; give 10",
            ),
        ];
        for (arguments, want) in cases {
            let why = Settings::merge(&arguments, File::default(), "a").expect_err(want);
            assert!(
                why.contains(want) && why.len() < 300 && !why.contains('\n'),
                "{why}"
            );
        }
    }
}
