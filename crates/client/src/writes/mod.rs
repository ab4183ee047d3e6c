//! Writes in bulk: many under way on one stream, committed in batches.
//!
//! Promises: each write is executed at most once, numbered like any other write of the client, and survives changes
//! of leader. Writes leave in the order in which [`Writes::send`] returned. At most [`UNANSWERED_MAX`] are under way;
//! a further `send` waits. Left out on purpose: an order of execution. Two writes that are under way together may be
//! executed in either order, because one that was not taken is sent again later; who needs an order awaits the answer.

mod pump;
mod unanswered;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorate_host::entropy;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::call::{Verdict, check_size, words};
use crate::client::Client;
use crate::error::{Error, Outcome};
use crate::numbered::Numbered;
use crate::once::{NUMBERS_MAX, never_known};
use pump::{Fate, Order, Pump, Reply, Submission};

/// Writes of one stream without an answer, at most: what the server takes.
pub(crate) const UNANSWERED_MAX: usize = 1_024;

/// Before a write whose outcome the replica could not tell is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A write stream. Clones share it; it ends when the last one and the last [`Answer`] are gone.
#[derive(Debug, Clone)]
pub struct Writes {
    client: Client,
    submissions: mpsc::Sender<Submission>,
    slots: Arc<Semaphore>,
}

/// The answer to a write that was sent. Poll it: a write that was not taken is sent again from here. Dropping it leaves
/// the outcome open.
#[must_use = "an answer that is dropped is not waited for"]
pub struct Answer<A>(BoxFuture<'static, Result<A, Error>>);

impl<A> Future for Answer<A> {
    type Output = Result<A, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl Writes {
    pub(crate) fn new(client: Client) -> Self {
        // Each submission holds a slot, so the queue is never full.
        let (submissions, queue) = mpsc::channel(UNANSWERED_MAX);
        let core = Arc::clone(client.core());
        client.core().spawn(Pump::new(core, queue).run());
        Self {
            client,
            submissions,
            slots: Arc::new(Semaphore::new(UNANSWERED_MAX)),
        }
    }

    /// Sends a write; returns once it is on its way, and what it returns resolves with the answer. The client's
    /// deadline covers both.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the write is too large; [`Error::Unavailable`] when there was no place for it before
    /// the deadline, or no registration. The answer's errors are those of any write.
    pub async fn send<W: Numbered>(&self, write: W) -> Result<Answer<W::Answer>, Error> {
        check_size(&write)?;
        let begun = Instant::now();
        let patience = self.client.patience();
        let deadline = begun + patience;
        let admitted = async {
            let slot = Arc::clone(&self.slots).acquire_owned().await;
            let slot = slot.map_err(|_| Error::closed(Outcome::NotExecuted))?;
            Ok((slot, self.client.core().number(deadline).await?))
        };
        let (slot, number) = match timeout_at(deadline, Box::pin(admitted)).await {
            Ok(admitted) => admitted?,
            Err(_) => {
                return Err(Error::Unavailable {
                    outcome: Outcome::NotExecuted,
                    why: format!(
                        "{} waited for {patience:?} behind other writes without an answer; {}",
                        W::NAME,
                        self.client.core().topology.describe()
                    ),
                });
            }
        };
        let fate = Arc::new(Fate::default());
        let order = Order {
            write: write.streamed(),
            number,
            numbers: 1,
            fate: Arc::clone(&fate),
            _slot: slot,
        };
        let reply = self.submit(order)?;
        let answer = self.clone().answer::<W>(reply, fate, deadline);
        Ok(Answer(Box::pin(answer)))
    }

    fn submit(&self, order: Order) -> Result<oneshot::Receiver<Reply>, Error> {
        let fate = Arc::clone(&order.fate);
        let (reply, receiver) = oneshot::channel();
        self.submissions
            .try_send(Submission { order, reply })
            .map_err(|_| Error::closed(fate.outcome()))?;
        Ok(receiver)
    }

    async fn answer<W: Numbered>(
        self,
        mut reply: oneshot::Receiver<Reply>,
        fate: Arc<Fate>,
        deadline: Instant,
    ) -> Result<W::Answer, Error> {
        let answered = async {
            loop {
                let (order, said) = (&mut reply).await.map_err(|_| Error::closed(fate.outcome()))?;
                match said {
                    Ok(answer) => {
                        return W::answer(answer).ok_or_else(|| {
                            Error::protocol(format!("{} was answered as another write", W::NAME))
                        });
                    }
                    Err(status) => reply = self.again(W::NAME, order, &status, deadline).await?,
                }
            }
        };
        match timeout_at(deadline, Box::pin(answered)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unavailable {
                outcome: fate.outcome(),
                why: format!(
                    "{} was not answered within {:?}; {}",
                    W::NAME,
                    self.client.patience(),
                    self.client.core().topology.describe()
                ),
            }),
        }
    }

    /// Sends a write again that failed with `status`, when that is safe and useful.
    async fn again(
        &self,
        name: &str,
        mut order: Order,
        status: &Status,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Reply>, Error> {
        let verdict = Verdict::of(status);
        // Apart from the copy that was answered just now.
        let unknown = order.fate.open() > 1;
        if !verdict.may_be_executed() {
            order.fate.come_back();
        }
        match verdict {
            Verdict::Overloaded { retry_after } => {
                sleep(retry_after.mul_f64(1.0 + entropy::random_fraction())).await;
            }
            Verdict::Redirected(_) | Verdict::Lost => {
                sleep(AGAIN_AFTER.mul_f64(0.75 + entropy::random_fraction() / 2.0)).await;
            }
            Verdict::ClientUnknown | Verdict::RequestForgotten => {
                if matches!(verdict, Verdict::ClientUnknown) {
                    self.client.core().once.forgotten(&order.number);
                }
                if unknown {
                    return Err(Error::Unavailable {
                        outcome: Outcome::Unknown,
                        why: format!(
                            "{name}: the cluster has forgotten this client while the write was under way"
                        ),
                    });
                }
                if order.numbers == NUMBERS_MAX {
                    return Err(never_known(name));
                }
                order.numbers += 1;
                order.number = self.client.core().number(deadline).await?;
            }
            Verdict::Final(Error::Invalid { .. }) | Verdict::Foreign(_) if unknown => {
                return Err(Error::Unavailable {
                    outcome: Outcome::Unknown,
                    why: format!(
                        "{name} was sent before, and at last the answer was: {}",
                        words(status)
                    ),
                });
            }
            Verdict::Final(error) | Verdict::Foreign(error) => return Err(error),
        }
        self.submit(order)
    }
}
