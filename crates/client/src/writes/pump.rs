//! The task behind a write stream: holds a stream to whoever leads, and sends again what was not answered.
//!
//! Promises: a write leaves at once on the stream that is open; after a change of leader all unanswered writes leave
//! again, with their request ids and in their order, on one new stream. Left out on purpose: what an answer means;
//! whoever waits for it decides, except that a redirect ends the stream for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quorate_api::v1::write_response::Answer;
use quorate_api::{decode_status, v1};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::UNANSWERED_MAX;
use super::unanswered::Unanswered;
use crate::call::{Flown, Router, Target, Verdict};
use crate::core::Core;
use crate::error::Outcome;
use crate::numbered::renumbered;
use crate::once::Number;
use crate::topology::Route;
use crate::wire::{ANSWER_BYTES_MAX, Wire};

/// A write and all that belongs to it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) write: v1::write_request::Write,
    pub(super) number: Number,
    /// How many numbers it has had.
    pub(super) numbers: u32,
    pub(super) fate: Arc<Fate>,
    /// Its place among the unanswered, free again when the order is dropped.
    pub(super) _slot: OwnedSemaphorePermit,
}

/// An order that waits for its answer.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) order: Order,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// The order comes back with what was said.
pub(super) type Reply = (Order, Result<Answer, Status>);

/// Whether a write may have been executed: it may, when more copies have left than came back as not executed.
#[derive(Debug, Default)]
pub(super) struct Fate {
    left: AtomicU32,
    came_back: AtomicU32,
}

impl Fate {
    pub(super) fn leave(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn come_back(&self) {
        self.came_back.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self.open() {
            0 => Outcome::NotExecuted,
            _ => Outcome::Unknown,
        }
    }

    /// Copies whose fate is not known.
    pub(super) fn open(&self) -> u32 {
        // Copies leave before they come back: read in the other order, a race can only make it look unknown.
        let came_back = self.came_back.load(Ordering::Acquire);
        self.left.load(Ordering::Acquire).saturating_sub(came_back)
    }
}

/// See the module.
pub(super) struct Pump {
    core: Arc<Core>,
    submissions: mpsc::Receiver<Submission>,
    unanswered: Unanswered<Submission>,
}

/// Why a stream is over.
enum End {
    /// Nobody is left who could want an answer.
    Unwanted,
    /// It was not opened.
    Refused(Status),
    /// It ended while writes were under way.
    Broken(Status),
}

impl Pump {
    pub(super) fn new(core: Arc<Core>, submissions: mpsc::Receiver<Submission>) -> Self {
        Self {
            core,
            submissions,
            unanswered: Unanswered::new(),
        }
    }

    /// Runs until the client is closed or nobody holds the stream or waits for an answer.
    pub(super) async fn run(mut self) {
        let mut router = Router::new(&self.core.topology, Target::Leader);
        while let Some(route) = self.next_route(&mut router).await {
            let served = Box::pin(self.serve(&route));
            match router.fly(&route, served).await {
                Flown::Landed(End::Unwanted) | Flown::Closed => return,
                Flown::Landed(End::Refused(status)) => self.refused(&mut router, &route, &status).await,
                // What became of the writes under way is not known, whatever the status says: they are sent again.
                Flown::Landed(End::Broken(status)) => {
                    self.turn_away(Verdict::of(&status), &mut router, &route).await;
                }
                Flown::Overtaken => {}
            }
        }
    }

    /// Waits for something to write and somebody to write it to.
    async fn next_route(&mut self, router: &mut Router) -> Option<Route> {
        self.unanswered.retain(|submission| !submission.reply.is_closed());
        if self.unanswered.is_empty() {
            let mut views = self.core.topology.views();
            let first = tokio::select! {
                biased;
                () = crate::topology::closed(&mut views) => None,
                first = self.submissions.recv() => first,
            };
            self.unanswered.add(first?);
        }
        let next = router.next();
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                route = &mut next => return route,
                submission = self.submissions.recv() => { self.unanswered.add(submission?); }
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn serve(&mut self, route: &Route) -> End {
        // As many as can be unanswered: sending never has to wait.
        let (requests, outgoing) = mpsc::channel(UNANSWERED_MAX);
        for (tag, submission) in self.unanswered.all() {
            send(&requests, tag, submission);
        }
        let client = v1::writes_client::WritesClient::<Wire>::new(route.wire.clone());
        let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
        let mut answers = match client.write(ReceiverStream::new(outgoing)).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return End::Refused(status),
        };
        loop {
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => if let Some(end) = self.answered(answer) {
                        return end;
                    },
                    Ok(None) => return End::Broken(Status::unavailable("the write stream was ended")),
                    Err(status) => return End::Broken(status),
                },
                submission = self.submissions.recv() => {
                    let Some(submission) = submission else {
                        return End::Unwanted;
                    };
                    let tag = self.unanswered.add(submission);
                    if let Some(submission) = self.unanswered.get(tag) {
                        send(&requests, tag, submission);
                    }
                }
            }
        }
    }

    /// Hands an answer to who waits for it. A redirect concerns the whole stream, and ends it.
    fn answered(&mut self, response: v1::WriteResponse) -> Option<End> {
        use v1::write_response::Answer::Error;
        let tag = response.tag;
        let said = match response.answer {
            Some(Error(bytes)) => Err(decode_status(&bytes)
                .unwrap_or_else(|_| Status::unknown("an answer in the write stream cannot be read"))),
            Some(answer) => Ok(answer),
            None => Err(Status::unknown("an answer in the write stream is empty")),
        };
        if let Err(status) = &said
            && let Verdict::Redirected(_) = Verdict::of(status)
        {
            if let Some(submission) = self.unanswered.get(tag) {
                submission.order.fate.come_back();
            }
            return Some(End::Broken(status.clone()));
        }
        match self.unanswered.take(tag) {
            // Who gave up has dropped the receiver; the order goes with it.
            Some(submission) => drop(submission.reply.send((submission.order, said))),
            None => tracing::warn!(tag, "an answer in the write stream belongs to no write"),
        }
        None
    }

    /// Decides what to do after a stream was not opened. A replica that says so itself has executed nothing from it.
    async fn refused(&mut self, router: &mut Router, route: &Route, status: &Status) {
        match Verdict::of(status) {
            verdict @ (Verdict::Redirected(_) | Verdict::Overloaded { .. }) => {
                self.unanswered
                    .all()
                    .for_each(|(_, submission)| submission.order.fate.come_back());
                self.turn_away(verdict, router, route).await;
            }
            Verdict::Lost => router.failed(route),
            Verdict::Foreign(_) if !route.leads => router.failed(route),
            Verdict::ClientUnknown | Verdict::RequestForgotten | Verdict::Final(_) | Verdict::Foreign(_) => {
                // It holds for each of the writes, and whoever waits for one judges it.
                for submission in self.unanswered.take_all() {
                    drop(submission.reply.send((submission.order, Err(status.clone()))));
                }
            }
        }
    }

    async fn turn_away(&self, verdict: Verdict, router: &mut Router, route: &Route) {
        match verdict {
            Verdict::Redirected(hint) => router.redirected(route, hint, &self.core.topology),
            Verdict::Overloaded { retry_after } => router.rest(route, retry_after).await,
            _ => router.failed(route),
        }
    }
}

fn send(requests: &mpsc::Sender<v1::WriteRequest>, tag: u64, submission: &Submission) {
    let Order {
        write, number, fate, ..
    } = &submission.order;
    fate.leave();
    let write = Some(renumbered(write, number.request_id()));
    // It cannot be full, since all unanswered writes fit; if the stream is gone, the next one sends them again.
    let _ = requests.try_send(v1::WriteRequest { tag, write });
}
