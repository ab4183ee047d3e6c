//! How much of etcd's history is kept, as etcd's own flags say it.
//!
//! Promises: a retention means what it means to etcd; what would not (a time in the mode that counts revisions, parts of
//! hours as decimals) is an error of one line. Left out on purpose: when it is compacted; see `quorate-replica`.

use std::time::Duration;

use quorate::AutoCompaction;

use super::value::{duration, short};

/// Longest retention: a year.
const RETENTION_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Shortest.
const RETENTION_MIN: Duration = Duration::from_secs(1);

/// What both settings mean together; nothing is compacted by itself unless there is a retention above 0.
pub(super) fn parse(mode: Option<&str>, retention: Option<&str>) -> Result<Option<AutoCompaction>, String> {
    let text = retention.unwrap_or("0");
    let wrong = |why: &str| format!("auto_compaction_retention: {:?} {why}", short(text));
    let number = text.parse::<u32>().ok();
    match mode.unwrap_or("periodic") {
        "periodic" => {
            let retention = match number {
                Some(hours) => Some(Duration::from_secs(u64::from(hours) * 3_600)),
                None => duration(text),
            };
            let retention =
                retention.ok_or_else(|| wrong("is no time; give hours, or a time as 10m or 1h30m"))?;
            match retention {
                Duration::ZERO => Ok(None),
                retention if (RETENTION_MIN..=RETENTION_MAX).contains(&retention) => {
                    Ok(Some(AutoCompaction::Periodic { retention }))
                }
                _ => Err(wrong("is out of range; give 1s to 8784h, or 0 for none")),
            }
        }
        "revision" => {
            let keep = number.ok_or_else(|| wrong("is no number of revisions; give one as 1000"))?;
            Ok((keep > 0).then(|| AutoCompaction::Revisions { keep: keep.into() }))
        }
        other => Err(format!(
            "auto_compaction_mode: {:?} is neither periodic nor revision",
            short(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_mean_what_they_mean_to_etcd() {
        let periodic = |seconds| {
            Ok(Some(AutoCompaction::Periodic {
                retention: Duration::from_secs(seconds),
            }))
        };
        let revisions = |keep| Ok(Some(AutoCompaction::Revisions { keep }));
        let cases = [
            (None, None, Ok(None)),
            (Some("periodic"), None, Ok(None)),
            (Some("periodic"), Some("0"), Ok(None)),
            (Some("revision"), Some("0"), Ok(None)),
            (None, Some("0h"), Ok(None)),
            (None, Some("1"), periodic(3_600)),
            (None, Some("24"), periodic(86_400)),
            (Some("periodic"), Some("10m"), periodic(600)),
            (Some("periodic"), Some("1h30m5s"), periodic(5_405)),
            (Some("periodic"), Some("2000ms"), periodic(2)),
            (Some("revision"), Some("1000"), revisions(1_000)),
            (Some("revision"), Some("1h"), Err("is no number of revisions")),
            (Some("revision"), Some("-1"), Err("is no number of revisions")),
            (Some("periodic"), Some("-1"), Err("is no time")),
            (Some("periodic"), Some("1.5h"), Err("is no time")),
            (Some("periodic"), Some("h"), Err("is no time")),
            (Some("periodic"), Some("5x"), Err("is no time")),
            (Some("periodic"), Some(""), Err("is no time")),
            (Some("periodic"), Some("1h5"), Err("is no time")),
            (Some("periodic"), Some("999ms"), Err("is out of range")),
            (Some("periodic"), Some("9000h"), Err("is out of range")),
            (Some("periodic"), Some("99999999999999999999h"), Err("is no time")),
            (Some("hourly"), Some("1"), Err("is neither periodic nor revision")),
        ];
        for (mode, retention, want) in cases {
            match (parse(mode, retention), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{mode:?} {retention:?}"),
                (Err(why), Err(want)) => {
                    assert!(why.contains(want) && why.starts_with("auto_compaction_"), "{why}");
                }
                (got, want) => panic!("{mode:?} {retention:?}: {got:?}, not {want:?}"),
            }
        }
        let long = parse(Some(&"x".repeat(100_000)), None).expect_err("no mode");
        assert!(long.len() < 200, "{long}");
    }
}
