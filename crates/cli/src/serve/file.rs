//! The configuration file of `serve`.
//!
//! Promises: an unknown key is an error, not a surprise later; the commented file that is printed names every key with
//! its default. Left out on purpose: changes while the replica runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::exit::{Failure, chain};

/// The file that `quorate config` prints, which is the one in deploy/: every key, commented out, with its default.
pub(crate) const COMMENTED: &str = include_str!("../../../../deploy/quorate.toml");
/// A larger file is not a configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a file can say. See [`super::arguments::Arguments`] for the meaning of each key.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: Option<String>,
    pub(crate) replicas: Option<Vec<String>>,
    pub(crate) peers_dns: Option<String>,
    pub(crate) group_size: Option<u32>,
    pub(crate) join: Option<bool>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) bind: Option<String>,
    pub(crate) http: Option<String>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) tls_client_ca: Option<PathBuf>,
    pub(crate) profile: Option<String>,
    pub(crate) session_grace_ms: Option<u64>,
    pub(crate) auto_compaction_mode: Option<String>,
    pub(crate) auto_compaction_retention: Option<String>,
    #[serde(default)]
    pub(crate) lease: Lease,
    pub(crate) snapshot_every: Option<u64>,
    pub(crate) snapshot_keep: Option<u64>,
    pub(crate) drain_ms: Option<u64>,
    pub(crate) log: Option<String>,
    pub(crate) log_format: Option<String>,
}

/// The keys that begin with `lease.`
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lease {
    pub(crate) orphan_grace: Option<String>,
    pub(crate) silent_after: Option<String>,
    pub(crate) ttl_max_s: Option<u64>,
}

impl File {
    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let metadata = std::fs::metadata(path)
            .map_err(|error| Failure::Usage(format!("the configuration {shown} cannot be read: {error}")))?;
        if !metadata.is_file() {
            return Err(Failure::Usage(format!(
                "the configuration {shown} is not a file; name a TOML file"
            )));
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(Failure::Usage(format!(
                "the configuration {shown} has {} bytes; more than {FILE_BYTES_MAX} is no configuration",
                metadata.len()
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::Usage(format!(
                "the configuration {shown} cannot be read as text: {}",
                chain(&error)
            ))
        })?;
        Self::parse(&text).map_err(|why| {
            Failure::Usage(format!(
                "the configuration {shown} is wrong: {why}; `quorate config` prints a good one"
            ))
        })
    }

    /// Parses a file's text; the error is one line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| {
                1 + text.as_bytes()[..span.start.min(text.len())]
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count()
            });
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            match line {
                Some(line) => format!("line {line}: {message}"),
                None => message,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_says_nothing_until_its_keys_are_uncommented() {
        assert_eq!(File::parse(COMMENTED), Ok(File::default()));
        let keys: Vec<&str> = COMMENTED
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' ') && line.contains(" = "))
            .collect();
        let file = File::parse(&keys.join("\n")).expect("every commented key is good");
        let File {
            name,
            replicas,
            peers_dns,
            group_size,
            join,
            data_dir,
            bind,
            http,
            tls_cert,
            tls_key,
            tls_ca,
            tls_client_ca,
            profile,
            session_grace_ms,
            auto_compaction_mode,
            auto_compaction_retention,
            lease,
            snapshot_every,
            snapshot_keep,
            drain_ms,
            log,
            log_format,
        } = file;
        assert!(lease.orphan_grace.is_some() && lease.silent_after.is_some() && lease.ttl_max_s.is_some());
        assert!(peers_dns.is_some() && group_size.is_some() && join.is_some());
        assert!(
            name.is_some() && replicas.is_some() && data_dir.is_some() && bind.is_some() && http.is_some()
        );
        assert!(tls_cert.is_some() && tls_key.is_some() && tls_ca.is_some() && tls_client_ca.is_some());
        assert!(
            profile.is_some()
                && session_grace_ms.is_some()
                && snapshot_every.is_some()
                && snapshot_keep.is_some()
        );
        assert!(auto_compaction_mode.is_some() && auto_compaction_retention.is_some());
        assert!(
            drain_ms.is_some() && log.is_some() && log_format.is_some(),
            "every key is shown"
        );
    }

    #[test]
    fn wrong_files_are_told_in_one_line() {
        let long = format!("name = \"{}", "x".repeat(100_000));
        let cases = [
            ("an unknown key", "nmae = \"a\"", "line 1: unknown field `nmae`"),
            ("a wrong type", "\nname = 3", "line 2: invalid type: integer"),
            ("a number below zero", "drain_ms = -1", "line 1: "),
            ("a table instead of a value", "[name]", "line 1: "),
            (
                "a key twice",
                "name = \"a\"\nname = \"b\"",
                "line 2: duplicate key",
            ),
            ("cut off", &long, "line 1: "),
            ("not TOML", "\u{1}\u{2}", "line 1: "),
        ];
        for (name, text, want) in cases {
            let why = File::parse(text).expect_err(name);
            assert!(
                why.starts_with(want) && !why.contains('\n') && why.len() < 600,
                "{name}: {why}"
            );
        }
    }

    #[test]
    fn files_that_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("binary"), [0xff, 0xfe]).expect("writes");
        let huge = std::fs::File::create(at("huge")).expect("creates");
        huge.set_len(FILE_BYTES_MAX + 1).expect("grows");
        let cases = [
            (at("missing"), "cannot be read"),
            (directory.path().to_owned(), "is not a file"),
            (at("binary"), "cannot be read as text"),
            (at("huge"), "is no configuration"),
        ];
        for (path, want) in cases {
            let failure = File::read(&path).expect_err(want);
            assert!(
                matches!(&failure, Failure::Usage(line) if line.contains(want)),
                "{failure}"
            );
        }
    }
}
