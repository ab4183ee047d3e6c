//! The terminal: raw while the screen is shown, as before afterwards.
//!
//! Promises: it is restored when the guard goes, and at a panic of any thread before the panic's message is written.
//! Left out on purpose: what is shown.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap, EndSynchronizedUpdate,
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};

use super::event::Tone;
use super::screen::Line;

/// What is assumed when the terminal does not say.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// It is raw now; only one can be.
static RAW: AtomicBool = AtomicBool::new(false);

/// Whether there is a terminal to show a screen on and to take keys from.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Columns and lines.
pub(super) fn size() -> (usize, usize) {
    let (columns, lines) = crossterm::terminal::size().unwrap_or(SIZE_DEFAULT);
    (usize::from(columns), usize::from(lines))
}

/// Keeps the terminal raw.
#[derive(Debug)]
pub(super) struct Raw(());

impl Raw {
    /// Makes the terminal raw and shows an empty screen.
    pub(super) fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        RAW.store(true, Ordering::Release);
        let raw = Self(());
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            default(panic);
        }));
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if RAW.swap(false, Ordering::AcqRel) {
        // A terminal that is gone needs nothing.
        let _ = execute!(
            io::stdout(),
            ResetColor,
            EnableLineWrap,
            Show,
            LeaveAlternateScreen
        );
        let _ = disable_raw_mode();
    }
}

/// The bytes that show these lines. Tones become colours unless `NO_COLOR` is set.
pub(super) fn frame(lines: &[Line], colours: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = draw(&mut bytes, lines, colours);
    bytes
}

/// Whether the user wants colours.
pub(super) fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn draw(bytes: &mut Vec<u8>, lines: &[Line], colours: bool) -> io::Result<()> {
    queue!(bytes, BeginSynchronizedUpdate)?;
    for (row, line) in (0..).zip(lines) {
        // Before the text: behind a line that fills the row, the cursor still stands on its last character.
        queue!(bytes, MoveTo(0, row), Clear(ClearType::UntilNewLine))?;
        for (tone, text) in &line.pieces {
            if let Some(attribute) = attribute(*tone) {
                queue!(bytes, SetAttribute(attribute))?;
            }
            if colours && let Some(colour) = colour(*tone) {
                queue!(bytes, SetForegroundColor(colour))?;
            }
            queue!(bytes, Print(text), ResetColor, SetAttribute(Attribute::Reset))?;
        }
    }
    queue!(bytes, EndSynchronizedUpdate)?;
    bytes.flush()
}

fn attribute(tone: Tone) -> Option<Attribute> {
    match tone {
        Tone::Bold | Tone::Bad => Some(Attribute::Bold),
        Tone::Dim => Some(Attribute::Dim),
        Tone::Plain | Tone::Good | Tone::Warn => None,
    }
}

fn colour(tone: Tone) -> Option<Color> {
    match tone {
        Tone::Good => Some(Color::Green),
        Tone::Warn => Some(Color::Yellow),
        Tone::Bad => Some(Color::Red),
        Tone::Plain | Tone::Dim | Tone::Bold => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cleared_behind_a_text() {
        let lines = [Line::of(Tone::Plain, "x".repeat(80))];
        let frame = String::from_utf8(frame(&lines, true)).expect("text");
        let (_, behind) = frame.rsplit_once('x').expect("the text");
        assert!(!behind.contains('K') && !behind.contains('J'), "{behind:?}");
    }

    #[test]
    fn a_frame_holds_the_text_and_colours_only_on_request() {
        let lines = [Line {
            pieces: vec![(Tone::Good, "leader a".to_owned())],
        }];
        let with = String::from_utf8(frame(&lines, true)).expect("text");
        let without = String::from_utf8(frame(&lines, false)).expect("text");
        assert!(with.contains("leader a") && without.contains("leader a"));
        assert!(
            with.contains("\u{1b}[38;5;10m") && !without.contains("\u{1b}[38;5;"),
            "{with:?} {without:?}"
        );
    }
}
