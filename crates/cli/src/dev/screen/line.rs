//! Lines of a screen: pieces of text, each with a tone. Pure.
//!
//! Promises: a cut line is exactly as wide as asked or narrower; nothing in it can steer a terminal.

use super::super::event::Tone;

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Line {
    /// Its pieces from left to right.
    pub(in super::super) pieces: Vec<(Tone, String)>,
}

impl Line {
    /// A line of one piece.
    pub(in super::super) fn of(tone: Tone, text: impl AsRef<str>) -> Self {
        Self::default().then(tone, text)
    }

    /// The line and another piece.
    pub(super) fn then(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        // Texts come from replicas and files, too.
        let text = text
            .as_ref()
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        self.pieces.push((tone, text));
        self
    }

    /// The same line, `width` columns at most.
    pub(super) fn cut(self, width: usize) -> Self {
        let mut left = width;
        let mut pieces = Vec::new();
        for (tone, text) in self.pieces {
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            if !text.is_empty() {
                pieces.push((tone, text));
            }
        }
        Self { pieces }
    }

    /// How many columns it takes.
    pub(super) fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// Without tones.
    pub(in super::super) fn plain(&self) -> String {
        let text: String = self.pieces.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

/// `text` in a cell of this width, on the left, cut when it is longer.
pub(super) fn left(text: &str, width: usize) -> String {
    let cut: String = text.chars().take(width).collect();
    format!("{cut:<width$}")
}

/// `text` in a cell of this width, on the right. One that is longer loses its beginning: of a number that grows, the end
/// is what moves.
pub(super) fn right(text: &str, width: usize) -> String {
    let skip = text.chars().count().saturating_sub(width);
    let cut: String = text.chars().skip(skip).collect();
    format!("{cut:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_width() {
        let line = || Line::of(Tone::Bold, "abc").then(Tone::Plain, "d\u{1b}f");
        for (width, want) in [
            (0, ""),
            (2, "ab"),
            (3, "abc"),
            (4, "abcd"),
            (5, "abcd?"),
            (6, "abcd?f"),
            (80, "abcd?f"),
        ] {
            assert_eq!(line().cut(width).plain(), want, "{width}");
        }
        assert_eq!(line().width(), 6);
    }

    #[test]
    fn cells_have_their_width() {
        let cases = [
            ("ab", "ab  ", "  ab"),
            ("abcd", "abcd", "abcd"),
            ("abcdef", "abcd", "cdef"),
            ("", "    ", "    "),
        ];
        for (text, on_left, on_right) in cases {
            assert_eq!(
                (left(text, 4).as_str(), right(text, 4).as_str()),
                (on_left, on_right)
            );
        }
    }
}
