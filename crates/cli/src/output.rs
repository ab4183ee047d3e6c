//! Where a command's result goes: tables for people, or JSON for programs, one object a line.
//!
//! Promises: every line is written whole; nothing that came from a server reaches a terminal as a control character
//! (see [`text`]); a listing holds at most [`CHUNK_ROWS`] rows at a time. Left out on purpose: colours, and what the
//! results are; each command renders its own with pure functions.

pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod words;

use std::io::{self, Write};
use std::pin::pin;

use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::exit::Failure;
use table::{Column, Table};

/// Rows whose widths are looked at together. A longer table keeps the widths of its first so many rows.
const CHUNK_ROWS: usize = 1_000;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object a line.
    Json,
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
}

impl Output {
    /// Writes the result of a command: `view` as JSON, or the text that `show` makes for people.
    pub(crate) fn result<V: Serialize>(
        &self,
        view: &V,
        show: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => write(&show()),
            Format::Json => write(&json_line(view)?),
        }
    }

    /// Writes rows that are all there: a table, or each as a line of JSON.
    pub(crate) fn rows<V: Serialize>(
        &self,
        rows: &[V],
        columns: &[Column],
        cells: impl Fn(&V) -> Vec<String>,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let mut table = Table::new(columns);
                rows.iter().for_each(|row| table.row(cells(row)));
                write(&table.take())
            }
            Format::Json => rows.iter().try_for_each(|row| write(&json_line(row)?)),
        }
    }

    /// Writes a listing as it comes, and how many rows it had.
    pub(crate) async fn listing<T, V: Serialize>(
        &self,
        rows: impl Stream<Item = Result<T, quorate_client::Error>>,
        columns: &[Column],
        cells: impl Fn(&T) -> Vec<String>,
        view: impl Fn(&T) -> V,
    ) -> Result<(), Failure> {
        let mut rows = pin!(rows);
        match self.format {
            Format::Json => {
                while let Some(row) = rows.next().await {
                    write(&json_line(&view(&row?))?)?;
                }
            }
            Format::Table => {
                let mut table = Table::new(columns);
                let mut failed = None;
                while let Some(row) = rows.next().await {
                    match row {
                        Ok(row) => table.row(cells(&row)),
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                    if table.rows() == CHUNK_ROWS {
                        write(&table.take())?;
                    }
                }
                // What came before an error is shown, but not an empty table before it.
                if failed.is_none() || table.rows() > 0 {
                    write(&table.take())?;
                }
                if let Some(error) = failed {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

/// Says something beside the result.
pub(crate) fn note(text: &str) {
    eprintln!("quorate: {}", text::plain(text));
}

/// Writes whole lines.
pub(crate) fn write(lines: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes())?;
    Ok(stdout.flush()?)
}

/// `view` as one line of JSON without anything that a terminal would obey.
pub(crate) fn json_line<V: Serialize>(view: &V) -> Result<String, Failure> {
    let json = serde_json::to_string(view)
        .map_err(|error| Failure::Failed(format!("the result cannot be shown as JSON: {error}")))?;
    let mut line = text::json_safe(&json);
    line.push('\n');
    Ok(line)
}
