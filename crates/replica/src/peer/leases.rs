//! Between the peer protocol and questions about etcd's leases, in both directions.
//!
//! Promises: what is said reads back as it was said; one call carries a bounded number of questions.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::convert::required;
use super::forwarded::{from_unavailable, to_patience, to_unavailable};
use super::wire;
use crate::duties::kv_leases::{Asked, KvLeaseTime, LeaseQuestion, LeaseSaid};
use crate::unavailable::Unavailable;

/// Questions in one call at most.
pub(crate) const QUESTIONS_PER_CALL_MAX: usize = 8_192;

pub(crate) fn to_questions(questions: &[LeaseQuestion], patience: Duration) -> wire::AskLeasesRequest {
    let to_wire = |question: &LeaseQuestion| wire::LeaseQuestion {
        lease: question.lease,
        renew: question.asked == Asked::Renew,
        connection: question.connection,
        news: to_news(question.asked),
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
        connection: question.connection,
        asked: match question.renew {
            true => Asked::Renew,
            false => from_news(question.news),
        },
    };
    Ok(request.questions.into_iter().map(from_wire).collect())
}

fn to_news(asked: Asked) -> Option<wire::KeeperNews> {
    use wire::keeper_news::What;
    let (what, at, host) = match asked {
        Asked::Time | Asked::Renew => return None,
        Asked::Kept { at } => (What::Kept(wire::Blank {}), at, 0),
        Asked::Broke { at, host } => (What::Broke(wire::Blank {}), at, host),
        Asked::Back { at, host } => (What::Back(wire::Blank {}), at, host),
    };
    Some(wire::KeeperNews {
        what: Some(what),
        ago_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
        host,
    })
}

/// News of a kind that a later release knows are a question, which harms nothing.
fn from_news(news: Option<wire::KeeperNews>) -> Asked {
    use wire::keeper_news::What;
    let Some(wire::KeeperNews { what, ago_ms, host }) = news else {
        return Asked::Time;
    };
    let now = Instant::now();
    let at = now.checked_sub(Duration::from_millis(ago_ms));
    match (what, at) {
        (Some(What::Kept(_)), Some(at)) => Asked::Kept { at },
        (Some(What::Broke(_)), Some(at)) => Asked::Broke { at, host },
        (Some(What::Back(_)), Some(at)) => Asked::Back { at, host },
        // From before this machine was started; whoever it was about has been heard of since, or never will be.
        (_, None) | (None, _) => Asked::Time,
    }
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

    #[tokio::test(start_paused = true)]
    async fn questions_read_back_and_are_bounded() {
        let at = Instant::now() - Duration::from_millis(1_500);
        let (connection, host) = (u64::MAX, 1 << 40);
        let asked = [
            (7, 0, Asked::Renew),
            (-7, 0, Asked::Time),
            (8, connection, Asked::Renew),
            (9, connection, Asked::Kept { at }),
            (i64::MIN, connection, Asked::Broke { at, host }),
            (0, connection, Asked::Back { at, host }),
        ];
        let questions = asked.map(|(lease, connection, asked)| LeaseQuestion {
            lease,
            connection,
            asked,
        });
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
    fn news_that_are_not_known_are_a_question() {
        let question = wire::LeaseQuestion {
            lease: 7,
            news: Some(wire::KeeperNews::default()),
            ..wire::LeaseQuestion::default()
        };
        let call = wire::AskLeasesRequest {
            questions: vec![question],
            patience_ms: 0,
        };
        let read = from_questions(call).expect("few");
        assert_eq!(read[0].asked, Asked::Time);
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
