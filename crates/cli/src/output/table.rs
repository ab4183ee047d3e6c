//! Columns for people.
//!
//! Promises: cells cannot break out of their row (see [`super::text`]); no blanks at the end of a line. Left out on
//! purpose: fitting into a terminal; a command that promises a width chooses its columns so.

use super::text::plain;

/// Blanks between two columns.
const GAP: &str = "  ";

/// The head of a column, and where its cells stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
}

/// A column of words.
pub(crate) const fn left(title: &'static str) -> Column {
    Column { title, right: false }
}

/// A column of numbers.
pub(crate) const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

/// Rows under heads.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// Known from the first rows that were taken; later ones keep to them.
    widths: Option<Vec<usize>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
            widths: None,
        }
    }

    /// Adds a row. Cells that are missing are empty.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// Rows that were added and not taken.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The rows as lines, under their heads when they are the first that are taken.
    pub(crate) fn take(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        let heads: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect();
        let first = self.widths.is_none();
        let widths = self.widths.get_or_insert_with(|| {
            let width = |index: usize| {
                let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(index));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            };
            (0..heads.len()).map(width).collect()
        });
        let mut lines = String::new();
        for row in first.then_some(&heads).into_iter().chain(&rows) {
            let mut line = String::new();
            for ((column, width), cell) in self.columns.iter().zip(widths.iter()).zip(row) {
                let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
                if !line.is_empty() {
                    line.push_str(GAP);
                }
                let (before, after) = if column.right {
                    (blanks.as_str(), "")
                } else {
                    ("", blanks.as_str())
                };
                line.push_str(before);
                line.push_str(cell);
                line.push_str(after);
            }
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// Names and values, one pair a line, the values in one column.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut lines = String::new();
    for (name, value) in pairs {
        let line = format!("{name:<width$}{GAP}{}", plain(value));
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[left("NAME"), right("ID"), left("WHAT")]);
        table.row(cells(&["bücher", "7", ""]));
        table.row(cells(&["b", "1234", "two\nlines \u{1b}[2J"]));
        assert_eq!(
            table.take(),
            "NAME      ID  WHAT\n\
             bücher     7\n\
             b       1234  two\\nlines \\u{1b}[2J\n"
        );
        table.row(cells(&["a longer one", "1", "x"]));
        table.row(cells(&["c"]));
        assert_eq!(
            table.take(),
            "a longer one     1  x\nc\n",
            "later rows keep the widths"
        );
    }

    #[test]
    fn an_empty_table_has_heads() {
        assert_eq!(Table::new(&[left("NAME"), right("ID")]).take(), "NAME  ID\n");
    }

    #[test]
    fn pairs_stand_in_a_column() {
        let shown = pairs(&[
            ("id", "7".to_owned()),
            ("description", "a\rb".to_owned()),
            ("none", String::new()),
        ]);
        assert_eq!(shown, "id           7\ndescription  a\\rb\nnone\n");
        assert_eq!(pairs(&[]), "");
    }
}
