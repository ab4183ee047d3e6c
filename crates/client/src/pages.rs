//! Listings as streams: page after page, without the caller seeing pages.
//!
//! Promises: each row once, in the listing's order; at most one page is held. Rows that change while the listing is
//! under way may or may not appear as they were: a page is consistent, a listing is not. Left out on purpose:
//! fetching ahead.

use std::collections::VecDeque;

use futures_util::stream::{self, Stream};
use quorate_api::v1;

use crate::error::Error;

/// Rows in a page of such a listing: the most that a replica gives.
const ROWS: u32 = quorate_types::limits::PAGE_ROWS_MAX;

/// The rows of all pages; `fetch` gets one page and the token of the next.
pub(crate) fn rows<T, F, Fut>(fetch: F) -> impl Stream<Item = Result<T, Error>> + Send
where
    T: Send,
    F: Fn(v1::Page) -> Fut + Send,
    Fut: Future<Output = Result<(Vec<T>, String), Error>> + Send,
{
    struct Place<T> {
        rows: VecDeque<T>,
        // The token of the next page; `None` after the last.
        next: Option<String>,
    }
    let start = Place {
        rows: VecDeque::new(),
        next: Some(String::new()),
    };
    stream::try_unfold((start, fetch), |(mut place, fetch)| async move {
        loop {
            if let Some(row) = place.rows.pop_front() {
                return Ok(Some((row, (place, fetch))));
            }
            let Some(token) = place.next.take() else {
                return Ok(None);
            };
            let (rows, next) = fetch(v1::Page {
                rows: ROWS,
                token: token.clone(),
            })
            .await?;
            if !next.is_empty() && next == token {
                return Err(Error::protocol(format!(
                    "a listing does not get past the page {token:?}"
                )));
            }
            place.rows = rows.into();
            place.next = Some(next).filter(|next| !next.is_empty());
        }
    })
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn listed(pages: &[(&str, &[u32], &str)]) -> Result<Vec<u32>, Error> {
        let fetch = |page: v1::Page| {
            let found = pages.iter().find(|(token, ..)| *token == page.token);
            let (_, rows, next) = found.expect("only tokens that were given");
            let answer = Ok((rows.to_vec(), (*next).to_owned()));
            async move { answer }
        };
        rows(fetch).try_collect().await
    }

    #[tokio::test]
    async fn rows_of_all_pages_in_order() {
        let none = listed(&[("", &[], "")]).await.expect("listed");
        assert!(none.is_empty());
        let pages: &[(&str, &[u32], &str)] = &[("", &[1, 2], "b"), ("b", &[], "c"), ("c", &[3], "")];
        assert_eq!(listed(pages).await.expect("listed"), [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_listing_that_goes_in_circles_is_an_error() {
        let pages: &[(&str, &[u32], &str)] = &[("", &[1], "b"), ("b", &[2], "b")];
        assert!(matches!(listed(pages).await, Err(Error::Protocol { .. })));
    }
}
