//! What a user can ask for: as keys on the screen, as lines on stdin. Pure.

use crossterm::event::{KeyCode, KeyModifiers};

use super::event::Deed;

/// Longest piece of a wrong line that is repeated in the answer, characters.
const SHOWN_MAX: usize = 40;

/// The verbs as a line of help.
pub(super) const HELP: &str = "kill|pause|resume|stop|start NAME|leader, transfer [NAME], status, help, quit (stop is SIGTERM, pause SIGSTOP)";

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    /// To a replica; never [`Deed::Transfer`].
    Do(Deed, Target),
    /// Leadership to this replica, or to the most advanced one.
    Transfer(Option<Target>),
    /// Select the replica in this place.
    Select(usize),
    /// Select the one so many places further.
    Step(isize),
    /// Show everything now.
    Status,
    /// Show the verbs.
    Help,
    /// End.
    Quit,
}

/// Which replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Who leads.
    Leader,
    /// The one that is selected on the screen.
    Selected,
    /// The one of this name.
    Named(String),
}

/// Reads a line. An empty one asks for nothing.
pub(super) fn line(text: &str) -> Result<Option<Verb>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let deed = |deed, name: &str| Ok(Some(Verb::Do(deed, target(name))));
    match words.as_slice() {
        [] => Ok(None),
        ["kill", name] => deed(Deed::Kill, name),
        ["pause", name] => deed(Deed::Pause, name),
        ["resume", name] => deed(Deed::Resume, name),
        ["stop", name] => deed(Deed::Terminate, name),
        ["start", name] => deed(Deed::Start, name),
        ["transfer"] => Ok(Some(Verb::Transfer(None))),
        ["transfer", name] => Ok(Some(Verb::Transfer(Some(target(name))))),
        ["status"] => Ok(Some(Verb::Status)),
        ["help"] => Ok(Some(Verb::Help)),
        ["quit" | "exit"] => Ok(Some(Verb::Quit)),
        [verb @ ("kill" | "pause" | "resume" | "stop" | "start")] => {
            Err(format!("{verb} whom? for example: {verb} a, or: {verb} leader"))
        }
        _ => Err(format!("{:?} is no command; there are: {HELP}", shown(text))),
    }
}

/// Reads a key. One that means nothing asks for nothing.
pub(super) fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Verb> {
    if modifiers.contains(KeyModifiers::CONTROL) {
        return (code == KeyCode::Char('c')).then_some(Verb::Quit);
    }
    let deed = |deed| Some(Verb::Do(deed, Target::Selected));
    match code {
        KeyCode::Char(digit @ '1'..='5') => Some(Verb::Select(usize::from(digit as u8 - b'1'))),
        KeyCode::Up => Some(Verb::Step(-1)),
        KeyCode::Down => Some(Verb::Step(1)),
        KeyCode::Char('k') => deed(Deed::Kill),
        KeyCode::Char('K') => Some(Verb::Do(Deed::Kill, Target::Leader)),
        KeyCode::Char('s') => deed(Deed::Pause),
        KeyCode::Char('c') => deed(Deed::Resume),
        KeyCode::Char('t') => deed(Deed::Terminate),
        KeyCode::Char('r') => deed(Deed::Start),
        KeyCode::Char('l') => Some(Verb::Transfer(Some(Target::Selected))),
        KeyCode::Char('q') => Some(Verb::Quit),
        _ => None,
    }
}

fn target(name: &str) -> Target {
    match name {
        "leader" => Target::Leader,
        name => Target::Named(name.to_owned()),
    }
}

/// The beginning of what a user wrote, with nothing in it that could steer a terminal.
pub(super) fn shown(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { '?' } else { c });
    printable.take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let named = |name: &str| Target::Named(name.to_owned());
        let cases = [
            ("", None),
            ("   ", None),
            ("kill a", Some(Verb::Do(Deed::Kill, named("a")))),
            ("  kill   leader ", Some(Verb::Do(Deed::Kill, Target::Leader))),
            ("pause b", Some(Verb::Do(Deed::Pause, named("b")))),
            ("resume b", Some(Verb::Do(Deed::Resume, named("b")))),
            ("stop c", Some(Verb::Do(Deed::Terminate, named("c")))),
            ("start c", Some(Verb::Do(Deed::Start, named("c")))),
            ("transfer", Some(Verb::Transfer(None))),
            ("transfer b", Some(Verb::Transfer(Some(named("b"))))),
            ("status", Some(Verb::Status)),
            ("help", Some(Verb::Help)),
            ("quit", Some(Verb::Quit)),
        ];
        for (text, want) in cases {
            assert_eq!(line(text), Ok(want), "{text:?}");
        }
    }

    #[test]
    fn wrong_lines_say_what_is_right() {
        let long = "x".repeat(5_000);
        let cases = [
            ("kill", "kill whom?"),
            ("kill a b", "is no command; there are: kill|"),
            ("explode", "\"explode\" is no command"),
            ("\u{1b}[2J", "\"?[2J\" is no command"),
            (&long, "x\" is no command"),
        ];
        for (text, want) in cases {
            let error = line(text).expect_err(want);
            assert!(error.contains(want), "{error}");
            assert!(error.len() < 250, "{error}");
        }
    }

    #[test]
    fn keys_are_read() {
        let selected = |deed| Some(Verb::Do(deed, Target::Selected));
        let cases = [
            ('1', Some(Verb::Select(0))),
            ('5', Some(Verb::Select(4))),
            ('6', None),
            ('0', None),
            ('k', selected(Deed::Kill)),
            ('K', Some(Verb::Do(Deed::Kill, Target::Leader))),
            ('s', selected(Deed::Pause)),
            ('c', selected(Deed::Resume)),
            ('t', selected(Deed::Terminate)),
            ('r', selected(Deed::Start)),
            ('l', Some(Verb::Transfer(Some(Target::Selected)))),
            ('q', Some(Verb::Quit)),
            ('x', None),
        ];
        for (character, want) in cases {
            assert_eq!(
                key(KeyCode::Char(character), KeyModifiers::NONE),
                want,
                "{character}"
            );
        }
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Verb::Quit));
        assert_eq!(key(KeyCode::Char('k'), KeyModifiers::CONTROL), None);
        assert_eq!(key(KeyCode::Up, KeyModifiers::NONE), Some(Verb::Step(-1)));
    }
}
