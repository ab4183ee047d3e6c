//! Scripts: operations as data, one file for each area.
//!
//! Promises: a file is read as a whole before anything runs, and a line that means nothing is an error with its number. Left
//! out on purpose: running them; see `run`.
//!
//! A line that begins with a blank continues the one before. What a line can say:
//!
//! ```text
//! # a remark
//! Put key: "a" value: "1"             a call by its name, with its message in protobuf's text format
//! every Range key: "a"                the same at each replica; they must say the same
//! gone Range key: "a"                 again and again until it finds nothing; the last answer counts
//! there Range key: "a"               again and again until it finds something
//! let L = LeaseGrant TTL: 60          keeps the answer's lease as $L, which stands for it from then on ($L.hex: in hexadecimal)
//! token T = Authenticate name: "a"   keeps the answer's token as T
//! as T Put key: "a"                  any of these with that token; a name that is none is sent as it is
//! begin c Lock name: "l"              begins a call that may take long and goes on
//! end c                              waits for its answer
//! drop c                             goes away instead
//! open w Watch create_request {...}   begins a stream and sends a first message
//! send w cancel_request {...}         sends another
//! take w 3                            waits for three things: events, or answers that are none
//! close w                             ends it; what came meanwhile and was not taken is a difference
//! ctl get a -w json                   etcdctl; lines that begin with `|` are its standard input
//! follow 6 watch a --rev=1            etcdctl until it has printed six lines
//! $times(129)[key: "k#"]              a text again and again, with its number for `#`
//! ```

use std::collections::BTreeMap;

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// As it stands in the script, in one line.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) line: usize,
    pub(crate) act: Act,
    /// The name of the token that is sent with it.
    pub(crate) token: Option<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Call {
        method: String,
        message: String,
        how: How,
    },
    Let {
        name: String,
        method: String,
        message: String,
    },
    Token {
        name: String,
        method: String,
        message: String,
    },
    Begin {
        name: String,
        method: String,
        message: String,
    },
    End {
        name: String,
    },
    Drop {
        name: String,
    },
    Open {
        stream: String,
        method: String,
        message: String,
    },
    Send {
        stream: String,
        message: String,
    },
    Take {
        stream: String,
        things: usize,
    },
    Close {
        stream: String,
    },
    Ctl {
        arguments: Vec<String>,
        input: String,
    },
    Follow {
        lines: usize,
        arguments: Vec<String>,
    },
}

/// Where a call goes, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// To the next replica.
    Once,
    /// To each, and what they say is the same when who says it is masked.
    Every,
    /// To the next, until it finds nothing.
    UntilGone,
    /// To the next, until it finds something.
    UntilThere,
}

impl Step {
    /// It reads what a replica happens to have, so it must be asked of the one that was spoken with last.
    pub(crate) fn is_stale_read(&self) -> bool {
        ["serializable: true", "--consistency=s"]
            .iter()
            .any(|sign| self.text.contains(sign))
    }
}

/// All steps of a script.
pub(crate) fn parse(script: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<(usize, String, String)> = Vec::new();
    for (number, line) in (1..).zip(script.lines()) {
        let last = steps.last_mut();
        if line.trim().is_empty() || line.starts_with('#') {
        } else if let Some(input) = line.strip_prefix('|') {
            let (_, _, all) = last.ok_or_else(|| format!("line {number} is input of nothing"))?;
            *all += input.strip_prefix(' ').unwrap_or(input);
            all.push('\n');
        } else if line.starts_with(' ') {
            let (_, text, _) = last.ok_or_else(|| format!("line {number} continues nothing"))?;
            text.push(' ');
            *text += line.trim();
        } else {
            steps.push((number, line.trim().to_owned(), String::new()));
        }
    }
    let read = |(line, text, input): (usize, String, String)| {
        step(line, &text, input).map_err(|why| format!("line {line}: {why}: {text}"))
    };
    steps.into_iter().map(read).collect()
}

/// One step that was made by a program.
pub(crate) fn call(text: String) -> Result<Step, String> {
    step(0, &text, String::new()).map_err(|why| format!("{why}: {text}"))
}

fn step(line: usize, text: &str, input: String) -> Result<Step, String> {
    let (word, rest) = split(text);
    if word == "as" {
        let (token, rest) = split(rest);
        let token = Some(token.to_owned());
        let text = text.to_owned();
        let same = step(line, rest, input)?;
        return Ok(Step { text, token, ..same });
    }
    let act = match word {
        "ctl" => Act::Ctl {
            arguments: words(rest)?,
            input,
        },
        "follow" => {
            let (lines, rest) = split(rest);
            let lines = lines.parse().map_err(|_| "how many lines?")?;
            let arguments = words(rest)?;
            Act::Follow { lines, arguments }
        }
        "open" => {
            let (stream, rest) = split(rest);
            let (method, message) = known(rest)?;
            let stream = stream.to_owned();
            Act::Open {
                stream,
                method,
                message,
            }
        }
        "send" => {
            let (stream, message) = split(rest);
            let (stream, message) = (stream.to_owned(), message.to_owned());
            Act::Send { stream, message }
        }
        "take" => {
            let (stream, things) = split(rest);
            let things = things.parse().map_err(|_| "how many things?")?;
            let stream = stream.to_owned();
            Act::Take { stream, things }
        }
        "close" => Act::Close {
            stream: rest.to_owned(),
        },
        "let" => {
            let (name, rest) = rest.split_once(" = ").ok_or("let NAME = CALL")?;
            let (method, message) = known(rest)?;
            let name = name.to_owned();
            Act::Let {
                name,
                method,
                message,
            }
        }
        "token" => {
            let (name, rest) = rest.split_once(" = ").ok_or("token NAME = CALL")?;
            let (method, message) = known(rest)?;
            let name = name.to_owned();
            Act::Token {
                name,
                method,
                message,
            }
        }
        "begin" => {
            let (name, rest) = split(rest);
            let (method, message) = known(rest)?;
            let name = name.to_owned();
            Act::Begin {
                name,
                method,
                message,
            }
        }
        "end" => Act::End {
            name: rest.to_owned(),
        },
        "drop" => Act::Drop {
            name: rest.to_owned(),
        },
        "every" | "gone" | "there" => {
            let (method, message) = known(rest)?;
            let how = match word {
                "every" => How::Every,
                "gone" => How::UntilGone,
                _ => How::UntilThere,
            };
            Act::Call { method, message, how }
        }
        _ => {
            let (method, message) = known(text)?;
            let how = How::Once;
            Act::Call { method, message, how }
        }
    };
    let text = text.to_owned();
    let token = None;
    Ok(Step {
        text,
        line,
        act,
        token,
    })
}

fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim())
}

/// A call that exists, and its message.
fn known(text: &str) -> Result<(String, String), String> {
    let (method, message) = split(text);
    match crate::message::method(method) {
        Some(_) => Ok((method.to_owned(), message.to_owned())),
        None => Err(format!("there is no call {method:?}")),
    }
}

/// Arguments: words, or what stands between quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(end), letter) if letter == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    Ok(words)
}

/// Puts in what stands for something longer: `$times(3)[x]`, and numbers that a server chose.
pub(crate) fn expand(text: &str, names: &BTreeMap<String, i64>) -> Result<String, String> {
    const TIMES: &str = "$times(";
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(TIMES) {
        expanded += before;
        let (count, after) = after.split_once(")[").ok_or("$times(NUMBER)[TEXT]")?;
        let count: usize = count.parse().map_err(|_| "$times(NUMBER)[TEXT]")?;
        let (what, after) = after.split_once(']').ok_or("$times(NUMBER)[TEXT]")?;
        if what.contains('#') {
            expanded.extend((0..count).map(|number| what.replace('#', &number.to_string())));
        } else {
            expanded += &what.repeat(count);
        }
        rest = after;
    }
    expanded += rest;
    for (name, number) in names {
        let name = format!("${name}");
        expanded = expanded.replace(&format!("{name}.hex"), &format!("{number:x}"));
        expanded = expanded.replace(&name, &number.to_string());
    }
    Ok(expanded)
}
