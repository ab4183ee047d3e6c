//! One of the two that are compared, as a script sees it: endpoints, open streams, numbers that it chose.
//!
//! Promises: a step is done once, at the next endpoint; a read that may be old goes where the step before went, since what it
//! finds elsewhere depends on time. Left out on purpose: what the other one says; see `run`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use prost_reflect::DynamicMessage;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::answer::{Answer, Line};
use crate::ctl::Ctl;
use crate::message;
use crate::raw::{Raw, Stream, told};
use crate::script::{Act, How, Step, expand};

/// Until a key is gone that should go, or there that should come: the shortest lease takes seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Side {
    raws: Vec<Raw>,
    ctls: Vec<Ctl>,
    /// The endpoint that was spoken with last.
    at: usize,
    streams: BTreeMap<String, Stream>,
    calls: BTreeMap<String, JoinHandle<Result<DynamicMessage, Status>>>,
    names: BTreeMap<String, i64>,
    tokens: BTreeMap<String, String>,
    /// What is sent with the step at hand.
    token: Option<String>,
}

impl Side {
    pub(crate) fn new(addresses: &[String], programs: &Path) -> Self {
        Self {
            raws: addresses.iter().map(|address| Raw::new(address)).collect(),
            ctls: addresses
                .iter()
                .map(|address| Ctl::new(programs, address))
                .collect(),
            at: 0,
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            names: BTreeMap::new(),
            tokens: BTreeMap::new(),
            token: None,
        }
    }

    /// Does a step. More than one answer is one of each endpoint.
    pub(crate) async fn perform(&mut self, step: &Step) -> Vec<Answer> {
        if !step.is_stale_read() {
            self.at = (self.at + 1) % self.raws.len();
        }
        self.token = step.token.as_ref().map(|name| {
            let token = self.tokens.get(name);
            token.unwrap_or(name).clone()
        });
        let mut answers = match self.act(&step.act).await {
            Ok(answers) => answers,
            Err(why) => vec![Answer::new(vec![Line::new("script", why)])],
        };
        for answer in &mut answers {
            answer.name(&self.names);
        }
        answers
    }

    async fn act(&mut self, act: &Act) -> Result<Vec<Answer>, String> {
        let answer = match act {
            Act::Call { method, message, how } => return self.call(method, message, *how).await,
            Act::Let {
                name,
                method,
                message,
            } => {
                let answer = self.raw_call(self.at, method, message).await?;
                let number = |message| {
                    let number = message::number(message, &["ID"]);
                    number.or_else(|| message::number(message, &["leader", "lease"]))
                };
                if let Ok(message) = &answer
                    && let Some(number) = number(message)
                {
                    self.names.insert(name.clone(), number);
                }
                told(&answer)
            }
            Act::Token {
                name,
                method,
                message,
            } => {
                let answer = self.raw_call(self.at, method, message).await?;
                if let Ok(message) = &answer
                    && let Some(token) = message::text(message, "token")
                {
                    self.tokens.insert(name.clone(), token);
                }
                told(&answer)
            }
            Act::Begin {
                name,
                method,
                message,
            } => {
                let method = message::method(method).ok_or("no such call")?;
                let request = message::parse(method.input(), &expand(message, &self.names)?)?;
                let (raw, token) = (self.raws[self.at].clone(), self.token.clone());
                let call = tokio::spawn(async move { raw.call(&method, request, token.as_deref()).await });
                self.calls.insert(name.clone(), call);
                Answer::default()
            }
            Act::End { name } => {
                let call = self.calls.remove(name).ok_or("no such call was begun")?;
                told(&call.await.map_err(|error| error.to_string())?)
            }
            Act::Drop { name } => {
                let call = self.calls.remove(name).ok_or("no such call was begun")?;
                call.abort();
                Answer::default()
            }
            Act::Open {
                stream,
                method,
                message,
            } => {
                let method = message::method(method).ok_or("no such call")?;
                let first = message::parse(method.input(), &expand(message, &self.names)?)?;
                self.catch_up().await?;
                let token = self.token.as_deref();
                match self.raws[self.at].open(&method, first, token).await {
                    Ok(opened) => {
                        self.streams.insert(stream.clone(), opened);
                        Answer::default()
                    }
                    Err(status) => told(&Err(status)),
                }
            }
            Act::Send { stream, message } => {
                let message = expand(message, &self.names)?;
                self.catch_up().await?;
                self.stream(stream)?.send(&message).await
            }
            Act::Take { stream, things } => self.stream(stream)?.take(*things).await,
            Act::Close { stream } => {
                let stream = self.streams.remove(stream).ok_or("no such stream")?;
                stream.close().await
            }
            Act::Ctl { arguments, input } => {
                let arguments = self.expanded(arguments)?;
                self.ctls[self.at]
                    .run(&arguments, &expand(input, &self.names)?)
                    .await
            }
            Act::Follow { lines, arguments } => {
                let arguments = self.expanded(arguments)?;
                self.catch_up().await?;
                self.ctls[self.at].follow(*lines, &arguments).await
            }
        };
        Ok(vec![answer])
    }

    /// A watch begins with what its replica has, which may be less than another has acknowledged; after a read it is not.
    async fn catch_up(&self) -> Result<(), String> {
        for at in 0..self.raws.len() {
            let read = self
                .raw_call(at, "Range", "key: \"none\" count_only: true")
                .await?;
            // Whoever may not read it was judged on a state of now, too.
            let is_denied = |status: &Status| {
                let codes = [
                    Code::PermissionDenied,
                    Code::InvalidArgument,
                    Code::Unauthenticated,
                ];
                codes.contains(&status.code())
            };
            if let Err(status) = read
                && !is_denied(&status)
            {
                return Err(status.to_string());
            }
        }
        Ok(())
    }

    async fn call(&mut self, method: &str, message: &str, how: How) -> Result<Vec<Answer>, String> {
        match how {
            How::Once => {
                let answer = self.raw_call(self.at, method, message).await?;
                Ok(vec![told(&answer)])
            }
            How::Every => {
                let mut answers = Vec::new();
                for at in 0..self.raws.len() {
                    answers.push(told(&self.raw_call(at, method, message).await?));
                }
                Ok(answers)
            }
            How::UntilGone | How::UntilThere => {
                let until = Instant::now() + SEEN_WITHIN;
                loop {
                    let answer = told(&self.raw_call(self.at, method, message).await?);
                    let is_there = answer.get("count").is_some();
                    if is_there == (how == How::UntilThere) || Instant::now() > until {
                        return Ok(vec![answer]);
                    }
                    sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    async fn raw_call(
        &self,
        at: usize,
        method: &str,
        text: &str,
    ) -> Result<Result<DynamicMessage, Status>, String> {
        let method = message::method(method).ok_or("no such call")?;
        let request = message::parse(method.input(), &expand(text, &self.names)?)?;
        let token = self.token.as_deref();
        Ok(self.raws[at].call(&method, request, token).await)
    }

    fn stream(&mut self, name: &str) -> Result<&mut Stream, String> {
        self.streams
            .get_mut(name)
            .ok_or_else(|| format!("no stream is called {name}"))
    }

    fn expanded(&self, arguments: &[String]) -> Result<Vec<String>, String> {
        arguments
            .iter()
            .map(|argument| expand(argument, &self.names))
            .collect()
    }
}
