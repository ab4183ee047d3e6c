//! What a failed attempt means: a pure reading of a gRPC status.
//!
//! Promises: only an error detail of Quorate's own is believed when it says that nothing was executed. A status
//! without one comes from a transport, a proxy or a dying process, and leaves the outcome open. Left out on purpose:
//! what to do next; see [`super`].

use std::error::Error as _;
use std::time::Duration;

use quorate_api::v1::error_detail::Kind;
use quorate_api::{decode_detail, v1};
use tonic::{Code, Status};

use crate::error::Error;
use crate::topology::Leader;

/// A replica that names no time is not asked again at once.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(10);
/// Longest piece of a foreign text that goes into a message, characters.
const WORDS_MAX: usize = 300;

/// See the module.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The replica does not lead; it may know who does.
    Redirected(Option<Leader>),
    /// The replica has too much to do.
    Overloaded { retry_after: Duration },
    /// The connection broke, or the replica could not tell what became of the request.
    Lost,
    /// The cluster does not know the client that numbered the request.
    ClientUnknown,
    /// The cluster has forgotten the answer.
    RequestForgotten,
    /// An answer: no retry changes it.
    Final(Error),
    /// Whatever answered does not know the call.
    Foreign(Error),
}

impl Verdict {
    pub(crate) fn of(status: &Status) -> Self {
        match decode_detail(status) {
            Ok(Some(kind)) => Self::of_detail(kind, status),
            Ok(None) => Self::of_code(status),
            Err(error) => Self::Foreign(Error::Protocol {
                message: format!("an answer cannot be read: {}", words(status)),
                source: Some(Box::new(error)),
            }),
        }
    }

    /// Whether the attempt that ended so may have been executed.
    pub(crate) fn may_be_executed(&self) -> bool {
        match self {
            Self::Lost | Self::Foreign(_) => true,
            Self::Redirected(_)
            | Self::Overloaded { .. }
            | Self::ClientUnknown
            | Self::RequestForgotten
            | Self::Final(_) => false,
        }
    }

    fn of_detail(kind: Kind, status: &Status) -> Self {
        match kind {
            Kind::NotLeader(not_leader) => {
                Self::Redirected(not_leader.leader.as_ref().and_then(Leader::from_hint))
            }
            Kind::Overloaded(overloaded) => Self::Overloaded {
                retry_after: Duration::from_millis(overloaded.retry_after_ms.into()).max(RETRY_AFTER_MIN),
            },
            Kind::OutcomeUnknown(_) => Self::Lost,
            Kind::Malformed(malformed) => Self::Final(Error::invalid(
                shortened(&malformed.field),
                shortened(status.message()),
            )),
            Kind::Refused(refused) => match refused.reason() {
                v1::Reason::ClientUnknown => Self::ClientUnknown,
                v1::Reason::RequestForgotten => Self::RequestForgotten,
                reason => Self::Final(Error::Refused {
                    reason,
                    message: shortened(status.message()),
                    milvus_code: refused.milvus_code,
                }),
            },
        }
    }

    fn of_code(status: &Status) -> Self {
        // A status that was made on this side of the wire has a cause: the transport failed, whatever the code.
        let ours = status.source().is_some();
        match status.code() {
            Code::Unimplemented
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
                if !ours =>
            {
                Self::Foreign(Error::protocol(words(status)))
            }
            _ => Self::Lost,
        }
    }
}

/// A status in words, with its causes.
pub(crate) fn words(status: &Status) -> String {
    let mut words = format!("{:?}", status.code());
    let mut said = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Layers of the transport often repeat what they wrap.
        if !said.contains(&text) {
            said = if said.is_empty() {
                text
            } else {
                format!("{said}: {text}")
            };
        }
        cause = error.source();
    }
    if !said.is_empty() {
        words = format!("{words}, {said}");
    }
    shortened(&words)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quorate_api::status_with_detail;

    use super::*;

    fn hint() -> Option<v1::LeaderHint> {
        Some(v1::LeaderHint {
            node_id: 2,
            address: "b:2".to_owned(),
            term: 7,
        })
    }

    fn refused(reason: v1::Reason) -> Status {
        let kind = Kind::Refused(v1::Refused {
            reason: reason.into(),
            milvus_code: 100,
        });
        status_with_detail(Code::NotFound, "no such thing", kind)
    }

    fn from_here(code: Code) -> Status {
        let mut status = Status::new(code, "transport error");
        status.set_source(Arc::new(std::io::Error::other("connection reset")));
        status
    }

    #[test]
    fn verdicts() {
        let not_leader =
            |leader| status_with_detail(Code::Unavailable, "", Kind::NotLeader(v1::NotLeader { leader }));
        let overloaded = Kind::Overloaded(v1::Overloaded { retry_after_ms: 40 });
        let malformed = Kind::Malformed(v1::Malformed {
            field: "schema.fields".to_owned(),
        });
        let unknown = Kind::OutcomeUnknown(v1::OutcomeUnknown {});
        let mut bad_hint = hint();
        bad_hint.as_mut().expect("a hint").address = "nowhere".to_owned();
        let cases: Vec<(&str, Status, &str, bool)> = vec![
            (
                "a redirect",
                not_leader(hint()),
                "Redirected(Some(Leader { node: NodeId(2)",
                false,
            ),
            (
                "a redirect to nobody",
                not_leader(None),
                "Redirected(None)",
                false,
            ),
            (
                "a redirect to nonsense",
                not_leader(bad_hint),
                "Redirected(None)",
                false,
            ),
            (
                "overloaded",
                status_with_detail(Code::ResourceExhausted, "", overloaded),
                "Overloaded { retry_after: 40ms",
                false,
            ),
            (
                "outcome unknown",
                status_with_detail(Code::Unavailable, "", unknown),
                "Lost",
                true,
            ),
            (
                "malformed",
                status_with_detail(Code::InvalidArgument, "too many", malformed),
                "Final(Invalid { field: \"schema.fields\", message: \"too many\"",
                false,
            ),
            (
                "refused",
                refused(v1::Reason::CollectionNotFound),
                "Final(Refused { reason: CollectionNotFound, message: \"no such thing\", milvus_code: 100",
                false,
            ),
            (
                "client unknown",
                refused(v1::Reason::ClientUnknown),
                "ClientUnknown",
                false,
            ),
            (
                "forgotten",
                refused(v1::Reason::RequestForgotten),
                "RequestForgotten",
                false,
            ),
            ("plain unavailable", Status::unavailable("bye"), "Lost", true),
            ("cancelled by a dying server", Status::cancelled(""), "Lost", true),
            (
                "a fault of the server",
                Status::internal("panicked"),
                "Lost",
                true,
            ),
            (
                "a deadline of the server",
                Status::deadline_exceeded(""),
                "Lost",
                true,
            ),
            ("a proxy's limit", Status::resource_exhausted(""), "Lost", true),
            ("a broken connection", from_here(Code::Unknown), "Lost", true),
            (
                "a broken connection, other code",
                from_here(Code::PermissionDenied),
                "Lost",
                true,
            ),
            (
                "another program",
                Status::unimplemented("what?"),
                "Foreign(Protocol { message: \"Unimplemented, what?\"",
                true,
            ),
            (
                "garbage for details",
                Status::with_details(Code::Aborted, "x", vec![0xff; 9].into()),
                "Foreign(Protocol { message: \"an answer cannot be read: Aborted, x\"",
                true,
            ),
        ];
        for (name, status, want, may_be_executed) in cases {
            let got = Verdict::of(&status);
            assert!(format!("{got:?}").starts_with(want), "{name}: {got:?}");
            assert_eq!(got.may_be_executed(), may_be_executed, "{name}");
        }
    }

    #[test]
    fn words_name_the_causes_once_and_are_short() {
        assert_eq!(
            words(&from_here(Code::Unknown)),
            "Unknown, transport error: connection reset"
        );
        assert_eq!(words(&Status::unavailable("")), "Unavailable");
        assert_eq!(
            words(&Status::unavailable("ä".repeat(10_000))).chars().count(),
            303
        );
    }
}
