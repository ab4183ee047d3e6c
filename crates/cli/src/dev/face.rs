//! How the user sees the cluster: one live screen, or lines.

use std::io;

use super::event::Tone;
use super::input::{Input, Typed};
use super::moment::Moment;
use super::output::Output;
use super::screen::{self, Line};
use super::state::State;
use super::terminal::{self, Raw};

/// Columns of reports that are printed as lines.
const REPORT_WIDTH: usize = 120;

/// See the module.
#[derive(Debug)]
pub(super) struct Face {
    input: Input,
    output: Output,
    /// Absent when lines are printed.
    raw: Option<Raw>,
    colours: bool,
}

impl Face {
    /// The screen, when there is a terminal and nothing else is wanted.
    pub(super) fn new(plain: bool) -> io::Result<Self> {
        if plain || !terminal::is_there() {
            return Ok(Self {
                input: Input::lines(),
                output: Output::lines(),
                raw: None,
                colours: false,
            });
        }
        let raw = Some(Raw::enter()?);
        Ok(Self {
            input: Input::keys(),
            output: Output::frames(),
            raw,
            colours: terminal::wants_colours(),
        })
    }

    /// What the user wants next. Cancel-safe.
    pub(super) async fn typed(&mut self) -> Typed {
        self.input.next().await
    }

    /// Nobody can see it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.output.is_closed()
    }

    /// Says what is new, when lines are printed.
    pub(super) fn tell(&mut self, state: &mut State) {
        let unsaid = state.unsaid();
        if self.raw.is_none() {
            for news in &unsaid {
                self.output.text(&screen::news_line(state, news).plain());
            }
        }
    }

    /// Draws the screen, when there is one.
    pub(super) fn draw(&self, state: &State) {
        if self.raw.is_some() {
            let (columns, lines) = terminal::size();
            self.output.frame(terminal::frame(
                &screen::screen(state, columns, lines),
                self.colours,
            ));
        }
    }

    /// Answers the wish for a report. A screen is one.
    pub(super) fn report(&mut self, state: &State) {
        if self.raw.is_none() {
            for line in screen::report(state, REPORT_WIDTH) {
                self.output.text(&line.plain());
            }
        }
    }

    /// Gives the terminal back; then `words` are written where the shell goes on.
    pub(super) fn leave(self, words: &[String]) {
        let Self {
            input,
            mut output,
            raw,
            ..
        } = self;
        input.finish();
        if let Some(raw) = raw {
            output.finish();
            drop(raw);
            output = Output::lines();
        }
        for line in words {
            output.text(&Line::of(Tone::Plain, line).plain());
        }
        output.finish();
    }
}

/// The state at this moment, on the face.
pub(super) fn now(face: &mut Face, state: &mut State) {
    state.apply(Moment::now(), super::event::Event::Tick);
    face.tell(state);
    face.draw(state);
}
