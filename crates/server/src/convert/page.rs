//! Listings in pages that fit into a message.
//!
//! Promises: a page has at most about [`PAGE_BYTES_MAX`] bytes, however large its rows are: it ends early then and names the
//! next one, so that a listing of huge collections neither bursts the client's limit nor a replica's memory.

use prost::Message;
use quorate_api::v1;
use quorate_replica::machine::{Page, PageRequest, Refusal};
use quorate_types::limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};

use super::{Malformed, text};
use crate::limits::{PAGE_BYTES_MAX, PAGE_TOKEN_BYTES_MAX};

/// Rows that are read at once: the largest row has below two megabytes, so a step adds below sixteen.
const ROWS_PER_STEP: u32 = 8;

/// Checks what a request says of the wanted page.
pub(super) fn check(page: Option<&v1::Page>) -> Result<(), Malformed> {
    match page {
        Some(page) if page.token.len() > PAGE_TOKEN_BYTES_MAX => {
            text("page.token", page.token.clone(), PAGE_TOKEN_BYTES_MAX).map(drop)
        }
        _ => Ok(()),
    }
}

/// Reads a page; gives its rows as messages, and the token of the next one.
pub(super) fn read<T, M: Message>(
    page: Option<&v1::Page>,
    list: impl Fn(&PageRequest) -> Result<Page<T>, Refusal>,
    show: impl Fn(T) -> M,
) -> Result<(Vec<M>, String), Refusal> {
    read_upto(PAGE_BYTES_MAX, page, list, show)
}

fn read_upto<T, M: Message>(
    bytes_max: usize,
    page: Option<&v1::Page>,
    list: impl Fn(&PageRequest) -> Result<Page<T>, Refusal>,
    show: impl Fn(T) -> M,
) -> Result<(Vec<M>, String), Refusal> {
    let (wanted, mut token) = match page {
        None => (PAGE_ROWS_DEFAULT, String::new()),
        Some(page) if page.rows == 0 => (PAGE_ROWS_DEFAULT, page.token.clone()),
        Some(page) => (page.rows, page.token.clone()),
    };
    if wanted > PAGE_ROWS_MAX {
        // The machine words the refusal; should it allow so many one day, so does this.
        let page = list(&PageRequest { rows: wanted, token })?;
        return Ok((page.items.into_iter().map(show).collect(), page.next_token));
    }
    let (mut rows, mut bytes, mut left) = (Vec::new(), 0, wanted);
    loop {
        let step = PageRequest {
            rows: left.min(ROWS_PER_STEP),
            token,
        };
        left -= step.rows;
        let page = list(&step)?;
        for item in page.items {
            let row = show(item);
            bytes += row.encoded_len();
            rows.push(row);
        }
        token = page.next_token;
        if token.is_empty() || left == 0 || bytes >= bytes_max {
            return Ok((rows, token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listing of `count` rows; its tokens are the numbers of the last rows.
    fn listing(count: u32) -> impl Fn(&PageRequest) -> Result<Page<u32>, Refusal> {
        move |request| {
            let from: u32 = request.token.parse().unwrap_or(0);
            let to = count.min(from + request.rows);
            let next_token = if to < count { to.to_string() } else { String::new() };
            Ok(Page {
                items: (from..to).collect(),
                next_token,
            })
        }
    }

    fn row(number: u32) -> v1::Partition {
        // 12 bytes each with its tag and length.
        v1::Partition {
            name: format!("{number:010}"),
            ..Default::default()
        }
    }

    #[test]
    fn pages_end_with_the_rows_wanted_the_listing_or_the_bytes() {
        let page = |rows, token: &str| {
            Some(v1::Page {
                rows,
                token: token.to_owned(),
            })
        };
        let cases: Vec<(&str, u32, Option<v1::Page>, usize, (usize, &str))> = vec![
            ("nothing", 0, None, usize::MAX, (0, "")),
            ("all of a short listing", 5, None, usize::MAX, (5, "")),
            ("the default", 300, None, usize::MAX, (100, "100")),
            (
                "zero stands for the default",
                300,
                page(0, "250"),
                usize::MAX,
                (50, ""),
            ),
            ("as many as wanted", 300, page(9, ""), usize::MAX, (9, "9")),
            ("exactly to the end", 9, page(9, ""), usize::MAX, (9, "")),
            ("from a token on", 300, page(9, "200"), usize::MAX, (9, "209")),
            ("cut by its bytes", 300, page(100, ""), 12 * 10, (16, "16")),
            ("a single step is never cut", 300, page(100, ""), 1, (8, "8")),
        ];
        for (case, count, page, bytes_max, want) in cases {
            let (rows, token) = read_upto(bytes_max, page.as_ref(), listing(count), row).expect("a page");
            assert_eq!((rows.len(), token.as_str()), want, "{case}");
        }
    }

    #[test]
    fn more_rows_than_allowed_are_the_machines_to_refuse() {
        let refuse = |request: &PageRequest| -> Result<Page<u32>, Refusal> {
            assert_eq!(request.rows, 1_001);
            Err(Refusal::CollectionLimit)
        };
        let page = v1::Page {
            rows: 1_001,
            token: String::new(),
        };
        assert_eq!(read(Some(&page), refuse, row), Err(Refusal::CollectionLimit));
    }

    #[test]
    fn a_token_that_cannot_be_one_is_malformed() {
        let page = v1::Page {
            rows: 0,
            token: "f".repeat(1_025),
        };
        let malformed = check(Some(&page)).expect_err("too long");
        assert_eq!(
            malformed.to_string(),
            "page.token has 1025 bytes; at most 1024 are allowed"
        );
        assert_eq!(check(None), Ok(()));
    }
}
