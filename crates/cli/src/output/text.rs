//! Text from elsewhere, made harmless for a terminal.
//!
//! Promises: what comes out has no control characters, no line breaks and nothing that reorders or hides what stands
//! beside it; a program that reads the JSON gets the very text back. Left out on purpose: the width of wide characters
//! (a table with them is crooked, not wrong).

use std::fmt::Write;

/// Whether a terminal may obey `c` instead of showing it: controls, marks that turn the direction of writing, and
/// characters without a look of their own (Unicode's Cc, most of Cf, Zl and Zp).
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text on one line, with `\n`, `\t`, `\u{1b}` and the like in place of characters that a terminal obeys.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_active(c) {
            shown.extend(c.escape_debug().flat_map(unhidden));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// `escape_debug` leaves some characters as they are that we do not want.
fn unhidden(c: char) -> impl Iterator<Item = char> {
    let escape = is_active(c);
    let escaped = escape.then(|| c.escape_unicode());
    let same = (!escape).then_some(c);
    escaped.into_iter().flatten().chain(same)
}

/// JSON with the same meaning in which such characters, which stand in strings only, are escaped.
pub(crate) fn json_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_active(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// At most `max` characters of `text`, with an ellipsis in place of the rest.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `text` in lines of at most `width` characters, broken at blanks where there are some; the lines after the first are
/// indented by `indent`.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut room = width.max(1);
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        loop {
            let blank = usize::from(used > 0);
            if used + blank + rest.len() <= room {
                lines.extend((blank == 1).then_some(' '));
                used += blank + rest.len();
                lines.extend(rest);
                break;
            }
            if used == 0 {
                lines.extend(rest.drain(..room));
            }
            lines.push('\n');
            lines.extend(std::iter::repeat_n(' ', indent));
            room = width.saturating_sub(indent).max(1);
            used = 0;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let cases = [
            ("words", "books", "books"),
            ("umlauts and wide ones", "Bücher 本", "Bücher 本"),
            ("a colour", "\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a line break", "a\r\nb\tc", "a\\r\\nb\\tc"),
            ("a nul and a delete", "\0\u{7f}", "\\0\\u{7f}"),
            ("C1's way to start a sequence", "\u{9b}2J", "\\u{9b}2J"),
            ("right to left", "a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            (
                "invisible",
                "a\u{200b}b\u{feff}\u{ad}",
                "a\\u{200b}b\\u{feff}\\u{ad}",
            ),
            ("tags", "a\u{e0041}", "a\\u{e0041}"),
            ("separators", "\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
        ];
        for (name, text, want) in cases {
            assert_eq!(plain(text), want, "{name}");
        }
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_teeth() {
        for text in [
            "books",
            "\u{1b}]0;x\u{7}",
            "\u{9b}2J\u{7f}",
            "a\u{202e}b",
            "tag \u{e0041} 本 \"q\" \\ ",
        ] {
            let json = serde_json::to_string(text).unwrap();
            let safe = json_safe(&json);
            assert!(!safe.chars().any(is_active), "{safe}");
            let back: String = serde_json::from_str(&safe).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn long_texts_are_cut_and_wrapped() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("本本本", 2), "本…");
        assert_eq!(cut("ab", 0), "…");
        let cases = [
            ("nothing", "", 10, 2, ""),
            ("fits", "one two", 10, 2, "one two"),
            ("breaks at a blank", "one two three", 8, 2, "one two\n  three"),
            ("breaks a long word", "abcdefghij", 4, 1, "abcd\n efg\n hij"),
            (
                "a long word after a short one",
                "ab cdefghij",
                5,
                2,
                "ab\n  cde\n  fgh\n  ij",
            ),
            ("no room at all", "abc", 1, 4, "a\n    b\n    c"),
        ];
        for (name, text, width, indent, want) in cases {
            assert_eq!(wrapped(text, width, indent), want, "{name}");
        }
    }
}
