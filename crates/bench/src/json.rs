//! A run as lines of JSON: one for each system and fault, so that files of many runs can be read line by line.

use serde_json::{Map, Value, json};

use crate::percentile::Percentiles;
use crate::report::{Each, Outcome, Report, Setting};

impl Report {
    /// One line for each system and fault, each with its newline.
    #[must_use]
    pub fn json_lines(&self) -> String {
        self.results
            .iter()
            .map(|result| line(result, &self.setting).to_string() + "\n")
            .collect()
    }
}

fn line(result: &Outcome, setting: &Setting) -> Value {
    let phases = result
        .phases_ms
        .iter()
        .map(|(name, of)| (name.clone(), percentiles(of)));
    json!({
        "system": result.system,
        "fault": result.fault,
        "rounds": result.rounds,
        "gap_ms": result.gap_ms.as_ref().map(percentiles),
        "calm_rounds": result.calm_rounds,
        "calm_gap_ms": result.calm_gap_ms.as_ref().map(percentiles),
        "phases_ms": phases.collect::<Map<String, Value>>(),
        "writes": result.writes,
        "failed_calls": result.failed_calls,
        "lost": result.lost,
        "doubled": result.doubled,
        "unrecovered": result.unrecovered,
        "unrest": result.unrest,
        "late_sends": result.late_sends,
        "latest_send_ms": result.latest_send_ms,
        "leader_mb": result.leader_mb,
        "replicas": setting.replicas,
        "profile": setting.profile,
        "objects": setting.objects,
        "ballast_mb": setting.ballast_mb,
        "load": { "before": setting.load_before, "after": setting.load_after, "cores": setting.cores },
        "file_system": setting.file_system,
        "commit": setting.commit,
        "at_unix_ms": setting.at_unix_ms,
        "each": result.each.iter().map(each).collect::<Vec<Value>>(),
    })
}

fn each(round: &Each) -> Value {
    let steps = round.steps_ms.iter().map(|(name, ms)| (name.clone(), json!(ms)));
    json!({
        "gap_ms": round.gap_ms,
        "gap_from_ms": round.gap_from_ms,
        "paused_ms": round.paused_ms,
        "steps_ms": steps.collect::<Map<String, Value>>(),
    })
}

fn percentiles(of: &Percentiles) -> Value {
    json!({ "p50": of.p50, "p90": of.p90, "p99": of.p99, "max": of.max })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::outcome;

    #[test]
    fn a_line_has_what_readers_look_for() {
        let setting = Setting {
            replicas: 3,
            objects: 1_000,
            commit: "abc".to_owned(),
            load_before: Some(0.5),
            cores: 2,
            ..Setting::default()
        };
        let results = vec![
            outcome("quorate", "kill", &[8, 9, 40]),
            outcome("etcd-10-50", "kill", &[]),
        ];
        let lines = Report {
            results,
            setting,
            aborted: None,
        }
        .json_lines();
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["system"], "quorate");
        assert_eq!(
            lines[0]["gap_ms"],
            json!({ "p50": 9.0, "p90": 40.0, "p99": 40.0, "max": 40.0 })
        );
        let each = json!({ "gap_ms": 8.0, "gap_from_ms": -2.0, "paused_ms": 0.0,
            "steps_ms": { "detected": 1.6, "client": 8.0 } });
        assert_eq!(lines[0]["each"][0], each);
        assert_eq!(lines[0]["phases_ms"]["detected"]["p50"], json!(1.8));
        assert_eq!(
            lines[0]["load"],
            json!({ "before": 0.5, "after": null, "cores": 2 })
        );
        assert_eq!(lines[1]["gap_ms"], Value::Null);
        for key in [
            "fault",
            "rounds",
            "failed_calls",
            "lost",
            "doubled",
            "objects",
            "ballast_mb",
            "commit",
        ] {
            assert!(!lines[0][key].is_null(), "{key}");
        }
    }
}
