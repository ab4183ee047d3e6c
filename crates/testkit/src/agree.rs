//! Do the replicas agree? Their digests at the same index, as each tells them.
//!
//! Promises: two digests that differ at the same index are an error at once; replicas that lag are waited for. Left out
//! on purpose: what the state should be; see [`crate::judge`].

use std::time::Duration;

use quorate_client::{Client, v1};
use quorate_types::NodeId;
use tokio::time::{sleep, timeout};

use crate::error::KitError;

/// Waits until all `nodes` have applied the same index, and gives their statuses.
///
/// # Errors
/// [`KitError::Waited`] when they do not come together, with what each said last; at once when they differ.
pub async fn agree(
    client: &Client,
    nodes: &[NodeId],
    patience: Duration,
) -> Result<Vec<v1::StatusResponse>, KitError> {
    let client = client.with_deadline(Duration::from_secs(2).min(patience));
    let mut last = String::new();
    let asking = async {
        loop {
            let mut statuses = Vec::new();
            last.clear();
            for node in nodes {
                match client.cluster().status(*node).await {
                    Ok(status) => {
                        last += &format!("{}: {}; ", status.name, describe(&status));
                        statuses.push(status);
                    }
                    Err(error) => last += &format!("node {node}: {error}; "),
                }
            }
            match compare(&statuses) {
                Comparison::Differ => return Err(()),
                Comparison::Same if statuses.len() == nodes.len() => return Ok(statuses),
                Comparison::Same | Comparison::Apart => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    match timeout(patience, asking).await {
        Ok(Ok(statuses)) => Ok(statuses),
        Ok(Err(())) => Err(KitError::waited(
            "the replicas agree; they never will",
            patience,
            last,
        )),
        Err(_) => Err(KitError::waited("the replicas agree", patience, last)),
    }
}

fn describe(status: &v1::StatusResponse) -> String {
    let digest: String = status
        .state_digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let fault = if status.fault.is_empty() {
        ""
    } else {
        ", stopped: "
    };
    format!(
        "index {}, digest {digest}{fault}{}",
        status.applied_index, status.fault
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Comparison {
    Same,
    /// Not at the same index.
    Apart,
    /// At the same index with different states.
    Differ,
}

fn compare(statuses: &[v1::StatusResponse]) -> Comparison {
    let mut comparison = Comparison::Same;
    for (number, one) in statuses.iter().enumerate() {
        for other in &statuses[number + 1..] {
            if one.applied_index != other.applied_index {
                comparison = Comparison::Apart;
            } else if one.state_digest != other.state_digest {
                return Comparison::Differ;
            }
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_index_is_compared() {
        let at = |applied_index: u64, digest: u8| v1::StatusResponse {
            applied_index,
            state_digest: vec![digest; 16],
            ..Default::default()
        };
        let cases = [
            ("nobody", vec![], Comparison::Same),
            ("one", vec![at(5, 1)], Comparison::Same),
            (
                "all the same",
                vec![at(5, 1), at(5, 1), at(5, 1)],
                Comparison::Same,
            ),
            ("one lags", vec![at(5, 1), at(4, 9), at(5, 1)], Comparison::Apart),
            (
                "two differ",
                vec![at(5, 1), at(5, 1), at(5, 2)],
                Comparison::Differ,
            ),
            (
                "one lags and two differ",
                vec![at(4, 1), at(5, 1), at(5, 2)],
                Comparison::Differ,
            ),
        ];
        for (name, statuses, want) in cases {
            assert_eq!(compare(&statuses), want, "{name}");
        }
    }
}
