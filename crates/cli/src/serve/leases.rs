//! The policy of etcd's leases, out of flags and file.
//!
//! Promises: nothing is set unless it was asked for. Left out on purpose: which policies are good, which the library says.

use std::time::Duration;

use quorate::LeasePolicy;

use super::arguments::Arguments;
use super::file::Lease;
use super::value::{duration, short};

/// The policy.
pub(super) fn policy(arguments: &Arguments, file: Lease) -> Result<LeasePolicy, String> {
    let default = LeasePolicy::default();
    let given = |flag: &Option<String>, key: Option<String>| flag.clone().or(key);
    let orphan_grace = match given(&arguments.lease_orphan_grace, file.orphan_grace).as_deref() {
        None | Some("off") => None,
        Some(text) => Some(time(
            "lease.orphan_grace",
            text,
            "off, or a time such as 800ms or 1s",
        )?),
    };
    let silent_after = match given(&arguments.lease_silent_after, file.silent_after) {
        None => default.silent_after,
        Some(text) => time("lease.silent_after", &text, "a time such as 10s")?,
    };
    let policy = LeasePolicy {
        orphan_grace,
        silent_after,
        ttl_max_s: arguments.lease_ttl_max_s.or(file.ttl_max_s),
    };
    policy.checked().map_err(|error| error.to_string())
}

fn time(key: &str, text: &str, want: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| format!("{key}: {:?} is no time; give {want}", short(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_etcds_unless_a_policy_is_set() {
        let none = policy(&Arguments::default(), Lease::default());
        assert_eq!(none, Ok(LeasePolicy::default()));
        let read = |flag: Option<&str>, key: Option<&str>, ttl_max_s| {
            let arguments = Arguments {
                lease_orphan_grace: flag.map(str::to_owned),
                ..Arguments::default()
            };
            let file = Lease {
                orphan_grace: key.map(str::to_owned),
                silent_after: Some("15s".to_owned()),
                ttl_max_s,
            };
            policy(&arguments, file)
        };
        let good = |ms: Option<u64>, ttl_max_s| {
            Ok(LeasePolicy {
                orphan_grace: ms.map(Duration::from_millis),
                silent_after: Duration::from_secs(15),
                ttl_max_s,
            })
        };
        let huge = "9".repeat(100_000);
        let cases = [
            ("off", Some("off"), Some("1s"), None, good(None, None)),
            (
                "in the file",
                None,
                Some("1s"),
                Some(10),
                good(Some(1_000), Some(10)),
            ),
            (
                "a flag first",
                Some("800ms"),
                Some("5s"),
                None,
                good(Some(800), None),
            ),
            (
                "too short",
                Some("799ms"),
                None,
                None,
                Err("lease.orphan_grace: 799 ms is too short"),
            ),
            (
                "no unit",
                Some("1000"),
                None,
                None,
                Err("lease.orphan_grace: \"1000\" is no time; give off"),
            ),
            ("nothing", Some(""), None, None, Err("lease.orphan_grace: \"\"")),
            ("no number", Some("s"), None, None, Err("lease.orphan_grace: ")),
            (
                "too large a number",
                Some("99999999999999999999s"),
                None,
                None,
                Err("lease.orphan_grace: "),
            ),
            (
                "a long text",
                Some(&huge),
                None,
                None,
                Err("lease.orphan_grace: "),
            ),
            (
                "a cap below all",
                None,
                None,
                Some(1),
                Err("lease.ttl_max_s: 1 is out of range"),
            ),
        ];
        for (name, flag, key, ttl_max_s, want) in cases {
            match (read(flag, key, ttl_max_s), want) {
                (Err(why), Err(want)) => assert!(why.starts_with(want) && why.len() < 300, "{name}: {why}"),
                (got, want) => assert_eq!(got, want.map_err(str::to_owned), "{name}"),
            }
        }
    }
}
