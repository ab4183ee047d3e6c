//! What is wrong with a command line, in one line.
//!
//! Promises: help and versions that were asked for stay as they are; a mistake is told in one line of bounded length, as
//! every other failure is. Pure but for the parser's own exit.

use clap::error::ErrorKind;

use crate::exit::Failure;

/// Longest line: a value of a hundred kilobytes is not repeated.
const LINE_CHARS_MAX: usize = 400;

/// The failure behind an error of the parser; does not return when help or the version was asked for.
pub(crate) fn failure(error: &clap::Error) -> Failure {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => Failure::Usage(one_line(&error.to_string())),
    }
}

/// The parser's text without its usage, in one line.
fn one_line(rendered: &str) -> String {
    let is_advice = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let lines = rendered.lines().take_while(is_advice);
    let parts: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = parts.join("; ").replace(":; ", ": ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    let shown = |c: char| if c.is_control() { '?' } else { c };
    let mut short: String = line.chars().take(LINE_CHARS_MAX).map(shown).collect();
    if line.chars().nth(LINE_CHARS_MAX).is_some() {
        short.push_str("...");
    }
    short + " (see --help)"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parsers_text_becomes_one_line() {
        let huge = format!(
            "error: invalid value '{}' for '--drain-ms <MS>'",
            "9".repeat(100_000)
        );
        let cases = [
            (
                "error: unexpected argument '--replica' found\n\n  tip: a similar argument exists: '--replicas'\n\n\
                 Usage: quorate serve --replicas <LIST>\n\nFor more information, try '--help'.\n",
                "unexpected argument '--replica' found; tip: a similar argument exists: '--replicas' (see --help)",
            ),
            (
                "error: the following required arguments were not provided:\n  <FILE>\n\nUsage: quorate\n",
                "the following required arguments were not provided: <FILE> (see --help)",
            ),
            ("error: a \u{1b}[31mcolour\u{7}\n", "a ?[31mcolour? (see --help)"),
        ];
        for (rendered, want) in cases {
            assert_eq!(one_line(rendered), want);
        }
        assert!(one_line(&huge).len() < 500);
    }
}
