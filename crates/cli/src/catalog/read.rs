//! Reads of the catalog: from the leader, or from any replica when the user allows an older state.
//!
//! Promises: every listing is complete, page after page, without more than a page in memory; a stale answer says how
//! old it may be. Left out on purpose: choosing a fresh replica; who needs the latest does not say `--stale`.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use quorate_client::{Client, Error, Root, StaleRoot, v1};
use quorate_types::limits::PAGE_ROWS_MAX;
use serde::Serialize;

use crate::output::note;
use crate::output::time::millis;

/// Whether an older state will do.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Freshness {
    /// Ask any replica, also without a leader; the answer may be older than the latest write
    #[arg(long)]
    stale: bool,
}

/// Who answers.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Leader(Root),
    Any(StaleRoot),
}

/// Which state an answer shows, in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Position {
    /// Revision of the metadata.
    revision: u64,
    /// Index of the last log entry that the answer includes.
    applied_index: u64,
    /// When the replica last heard from the leader; `null` for an answer of the leader that was asked as such.
    leader_contact_ms: Option<u64>,
}

/// An answer as JSON: what was asked for, and which state it shows.
#[derive(Debug, Serialize)]
pub(super) struct Read<V> {
    #[serde(flatten)]
    pub(super) view: V,
    pub(super) read: Position,
}

/// The answer to "has".
#[derive(Debug, Serialize)]
pub(super) struct Exists {
    pub(super) exists: bool,
}

/// An answer, and how long ago its replica heard from the leader when it was a stale read.
pub(super) type Answer<A> = Result<(A, Option<Contact>), Error>;

/// What a replica says of its contact with the leader; nothing when it does not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Contact(Option<Duration>);

macro_rules! reads {
    ($($method:ident($request:ident) -> $answer:ident;)*) => {
        impl Source {
            $(
                pub(super) async fn $method(&self, request: v1::$request) -> Answer<v1::$answer> {
                    match self {
                        Self::Leader(root) => Ok((root.$method(request).await?, None)),
                        Self::Any(root) => {
                            let stale = root.$method(request).await?;
                            Ok((stale.answer, Some(Contact(stale.leader_contact))))
                        }
                    }
                }
            )*
        }
    };
}

reads! {
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse;
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse;
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse;
    has_collection(HasCollectionRequest) -> HasCollectionResponse;
    list_collections(ListCollectionsRequest) -> ListCollectionsResponse;
    has_partition(HasPartitionRequest) -> HasPartitionResponse;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse;
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
}

impl Freshness {
    pub(super) fn source(self, client: &Client) -> Source {
        if self.stale {
            Source::Any(client.stale_root())
        } else {
            Source::Leader(client.root())
        }
    }
}

impl Position {
    pub(super) fn of(position: Option<v1::ReadPosition>, contact: Option<Contact>) -> Self {
        let position = position.unwrap_or_default();
        let contact = contact.and_then(|Contact(contact)| contact);
        Self {
            revision: position.revision,
            applied_index: position.applied_index,
            leader_contact_ms: contact.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// For people, when the read was a stale one.
    fn show(self, contact: Option<Contact>) -> Option<String> {
        contact?;
        let age = self.leader_contact_ms.map_or_else(
            || "its replica does not say when it heard from the leader".to_owned(),
            |ms| format!("its replica heard from the leader {} before", millis(ms)),
        );
        Some(format!(
            "a stale answer: revision {}, log index {}; {age}",
            self.revision, self.applied_index
        ))
    }
}

/// Tells people, beside the result, how old it may be.
pub(super) fn tell_age(position: Option<v1::ReadPosition>, contact: Option<Contact>) {
    if let Some(text) = Position::of(position, contact).show(contact) {
        note(&text);
    }
}

/// A page of a listing, and the token of the next.
pub(super) struct Paged<T> {
    pub(super) rows: Vec<T>,
    pub(super) next_token: String,
}

/// The rows of all pages; `fetch` gets one.
pub(super) fn pages<T, Fut>(fetch: impl Fn(v1::Page) -> Fut) -> impl Stream<Item = Result<T, Error>>
where
    Fut: Future<Output = Result<Paged<T>, Error>>,
{
    let start = (VecDeque::new(), Some(String::new()), fetch);
    stream::try_unfold(start, |(mut rows, mut next, fetch)| async move {
        loop {
            if let Some(row) = rows.pop_front() {
                return Ok(Some((row, (rows, next, fetch))));
            }
            let Some(token) = next.take() else {
                return Ok(None);
            };
            let page = fetch(v1::Page {
                rows: PAGE_ROWS_MAX,
                token: token.clone(),
            })
            .await?;
            rows = page.rows.into();
            if page.next_token == token && !token.is_empty() {
                return Err(Error::Protocol {
                    message: format!("a listing does not get past its page {token:?}"),
                    source: None,
                });
            }
            next = Some(page.next_token).filter(|token| !token.is_empty());
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn listed(pages: &[(&str, &[u32], &str)]) -> Result<Vec<u32>, Error> {
        super::pages(|page: v1::Page| {
            let (_, rows, next) = pages.iter().find(|(token, ..)| *token == page.token).unwrap();
            let (rows, next_token) = (rows.to_vec(), (*next).to_owned());
            async move { Ok(Paged { rows, next_token }) }
        })
        .try_collect()
        .await
    }

    #[tokio::test]
    async fn rows_of_all_pages_in_order() {
        let none = listed(&[("", &[], "")]).await.unwrap();
        assert!(none.is_empty());
        let pages: &[(&str, &[u32], &str)] = &[("", &[1, 2], "b"), ("b", &[], "c"), ("c", &[3], "")];
        assert_eq!(listed(pages).await.unwrap(), [1, 2, 3]);
        let circle: &[(&str, &[u32], &str)] = &[("", &[1], "b"), ("b", &[2], "b")];
        assert!(matches!(listed(circle).await, Err(Error::Protocol { .. })));
    }

    #[test]
    fn a_stale_answer_says_how_old_it_may_be() {
        let position = Some(v1::ReadPosition {
            revision: 7,
            applied_index: 12,
        });
        let cases = [
            (None, None),
            (
                Some(Contact(None)),
                Some(
                    "a stale answer: revision 7, log index 12; its replica does not say when it heard from the leader",
                ),
            ),
            (
                Some(Contact(Some(Duration::from_millis(20)))),
                Some(
                    "a stale answer: revision 7, log index 12; its replica heard from the leader 20 ms before",
                ),
            ),
        ];
        for (contact, want) in cases {
            let shown = Position::of(position, contact).show(contact);
            assert_eq!(shown.as_deref(), want);
        }
        let huge = Position::of(None, Some(Contact(Some(Duration::MAX))));
        assert_eq!(huge.leader_contact_ms, Some(u64::MAX));
    }
}
