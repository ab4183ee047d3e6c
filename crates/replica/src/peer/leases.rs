//! Between the peer protocol and questions about etcd's leases, in both directions.
//!
//! Promises: what is said reads back as it was said; one call carries a bounded number of questions.

use std::time::Duration;

use tonic::Status;

use super::convert::required;
use super::forwarded::{from_unavailable, to_patience, to_unavailable};
use super::wire;
use crate::duties::kv_leases::{KvLeaseTime, LeaseQuestion, LeaseSaid};
use crate::unavailable::Unavailable;

/// Questions in one call at most.
pub(crate) const QUESTIONS_PER_CALL_MAX: usize = 8_192;

pub(crate) fn to_questions(questions: &[LeaseQuestion], patience: Duration) -> wire::AskLeasesRequest {
    let to_wire = |question: &LeaseQuestion| wire::LeaseQuestion {
        lease: question.lease,
        renew: question.renew,
    };
    wire::AskLeasesRequest {
        questions: questions.iter().map(to_wire).collect(),
        patience_ms: to_patience(patience),
    }
}

pub(crate) fn from_questions(request: wire::AskLeasesRequest) -> Result<Vec<LeaseQuestion>, Status> {
    if request.questions.len() > QUESTIONS_PER_CALL_MAX {
        return Err(Status::invalid_argument(format!(
            "a call carries at most {QUESTIONS_PER_CALL_MAX} questions"
        )));
    }
    let from_wire = |question: wire::LeaseQuestion| LeaseQuestion {
        lease: question.lease,
        renew: question.renew,
    };
    Ok(request.questions.into_iter().map(from_wire).collect())
}

pub(crate) fn to_said(said: Result<Vec<LeaseSaid>, Unavailable>) -> wire::AskLeasesResponse {
    use wire::ask_leases_response::Result as Wire;
    use wire::lease_said::Said;
    let one = |said: LeaseSaid| wire::LeaseSaid {
        said: Some(match said {
            LeaseSaid::Absent => Said::Absent(wire::Blank {}),
            LeaseSaid::Expiring => Said::Expiring(wire::Blank {}),
            LeaseSaid::Lives(KvLeaseTime { ttl_s, left }) => Said::Lives(wire::LeaseLives {
                ttl_s,
                left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            }),
        }),
    };
    let result = match said {
        Ok(said) => Wire::Said(wire::LeasesSaid {
            said: said.into_iter().map(one).collect(),
        }),
        Err(unavailable) => Wire::Unavailable(to_unavailable(&unavailable)),
    };
    wire::AskLeasesResponse { result: Some(result) }
}

pub(crate) fn from_said(
    response: wire::AskLeasesResponse,
) -> Result<Result<Vec<LeaseSaid>, Unavailable>, Status> {
    use wire::ask_leases_response::Result as Wire;
    use wire::lease_said::Said;
    let one = |said: wire::LeaseSaid| {
        Ok(match required(said.said, "said")? {
            Said::Absent(_) => LeaseSaid::Absent,
            Said::Expiring(_) => LeaseSaid::Expiring,
            Said::Lives(wire::LeaseLives { ttl_s, left_ms }) => LeaseSaid::Lives(KvLeaseTime {
                ttl_s,
                left: Duration::from_millis(left_ms),
            }),
        })
    };
    Ok(match required(response.result, "result")? {
        Wire::Said(said) => Ok(said.said.into_iter().map(one).collect::<Result<_, Status>>()?),
        Wire::Unavailable(unavailable) => Err(from_unavailable(unavailable)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_reads_back() {
        let lives = |left_ms| {
            LeaseSaid::Lives(KvLeaseTime {
                ttl_s: 60,
                left: Duration::from_millis(left_ms),
            })
        };
        let cases = [
            ("nothing", Ok(vec![])),
            (
                "each kind",
                Ok(vec![
                    LeaseSaid::Absent,
                    lives(59_999),
                    LeaseSaid::Expiring,
                    lives(0),
                ]),
            ),
            ("no answer", Err(Unavailable::TimedOut)),
        ];
        for (name, said) in cases {
            let read = from_said(to_said(said.clone())).expect(name);
            assert_eq!(read, said, "{name}");
        }
    }

    #[test]
    fn questions_read_back_and_are_bounded() {
        let questions = [(7, true), (-7, false)].map(|(lease, renew)| LeaseQuestion { lease, renew });
        let call = to_questions(&questions, Duration::from_secs(1));
        assert_eq!(call.patience_ms, 1_000);
        assert_eq!(from_questions(call).expect("few"), questions);
        let call = |count| wire::AskLeasesRequest {
            questions: vec![wire::LeaseQuestion::default(); count],
            patience_ms: 0,
        };
        assert!(from_questions(call(QUESTIONS_PER_CALL_MAX)).is_ok());
        assert!(from_questions(call(QUESTIONS_PER_CALL_MAX + 1)).is_err());
    }

    #[test]
    fn answers_without_their_parts_are_refused() {
        use wire::ask_leases_response::Result as Wire;
        assert!(from_said(wire::AskLeasesResponse::default()).is_err());
        let said = vec![wire::LeaseSaid::default()];
        let result = Some(Wire::Said(wire::LeasesSaid { said }));
        assert!(from_said(wire::AskLeasesResponse { result }).is_err());
    }
}
