//! What `serve` runs with, once flags, environment and file are put together.
//!
//! Promises: every value was checked, each mistake is one line that names where to correct it; a pure function of its
//! inputs but for the host's name and the file. Left out on purpose: what the library checks anyhow (the list as a whole).

use std::path::PathBuf;
use std::time::Duration;

use quorate::{Builder, Coordinator, Listed, Profile, SnapshotEvery};

use super::arguments::Arguments;
use super::file::File;
use super::replicas;
use crate::exit::Failure;

/// Longest `session_grace_ms` and `drain_ms`: an hour.
const MS_MAX: u64 = 3_600_000;
/// Most entries between snapshots: what a restart would have to replay.
const ENTRIES_MAX: u64 = 10_000_000;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) replicas: Vec<Listed>,
    pub(crate) data_dir: PathBuf,
    pub(crate) bind: String,
    pub(crate) http: Option<String>,
    pub(crate) profile: Profile,
    pub(crate) session_grace: Duration,
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
        let replicas = match (&arguments.replicas, file.replicas) {
            (Some(list), _) => replicas::parse_list(list)?,
            (None, Some(entries)) => entries
                .iter()
                .map(|entry| replicas::parse(entry))
                .collect::<Result<_, _>>()?,
            (None, None) => {
                return Err(
                    "no replicas are listed; give --replicas NAME=HOST,... or the key `replicas` \
                            (quorate dev starts a cluster on this machine)"
                        .to_owned(),
                );
            }
        };
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
            name: flag(&arguments.name, file.name).unwrap_or_else(|| host.to_owned()),
            replicas,
            data_dir: arguments
                .data_dir
                .clone()
                .or(file.data_dir)
                .unwrap_or_else(|| PathBuf::from("quorate-data")),
            bind: flag(&arguments.bind, file.bind).unwrap_or_else(|| "0.0.0.0".to_owned()),
            http: (http != "off").then_some(http),
            profile,
            session_grace: ms(
                "session_grace_ms",
                arguments.session_grace_ms,
                file.session_grace_ms,
                1_000,
            )?,
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
            .data_dir(&self.data_dir)
            .bind(&self.bind)
            .profile(self.profile)
            .snapshot(self.snapshot)
            .session_grace(self.session_grace)
            .drain_timeout(self.drain);
        match &self.http {
            Some(address) => builder.http(address),
            None => builder,
        }
    }
}

fn number(key: &str, given: Option<u64>, default: u64, min: u64, max: u64) -> Result<u64, String> {
    match given.unwrap_or(default) {
        number if (min..=max).contains(&number) => Ok(number),
        number => Err(format!("{key}: {number} is out of range; give {min} to {max}")),
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
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
