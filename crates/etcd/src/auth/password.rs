//! Passwords: what is kept of them, and recognising them.
//!
//! Promises: a password never enters the log; what does is derived from it slowly, with a salt of its own, on threads that serve
//! nothing else, a few at once; what waits for that is bounded, and so is how long. Left out on purpose: etcd's bcrypt. What is
//! kept of a password cannot be carried over from etcd or to it, nor can a client send it ready-made.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use quorate_host::entropy;
use quorate_replica::machine::{KvPassword, KvPasswordKind};
use ring::pbkdf2;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::limits::{PASSWORDS_AT_ONCE, PASSWORDS_WAITING_MAX};

/// What OWASP recommends for PBKDF2 with HMAC-SHA-512.
const ROUNDS: u32 = if cfg!(test) { 10 } else { 210_000 };
const HASH_BYTES: usize = 64;

/// There was no turn: too many wait, or it would have come too late. Nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoTurn;

/// See the module.
pub(super) struct Passwords {
    waiting: Semaphore,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Passwords {
    /// Its threads' work is left to `tasks`.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self {
            waiting: Semaphore::new(PASSWORDS_WAITING_MAX),
            turns: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            tasks,
        }
    }

    /// What is to be kept of a password.
    pub(super) async fn derive(&self, password: String, deadline: Instant) -> Result<KvPassword, NoTurn> {
        let salt = Bytes::copy_from_slice(&entropy::random_u128().to_be_bytes());
        self.in_turn(deadline, move || {
            let mut hash = vec![0; HASH_BYTES];
            let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
            pbkdf2::derive(
                pbkdf2::PBKDF2_HMAC_SHA512,
                rounds,
                &salt,
                password.as_bytes(),
                &mut hash,
            );
            KvPassword {
                kind: KvPasswordKind::Pbkdf2HmacSha512,
                rounds: ROUNDS,
                salt,
                hash: Bytes::from(hash),
            }
        })
        .await
    }

    /// Whether a password is the one that this was kept of.
    pub(super) async fn fits(
        &self,
        password: String,
        kept: KvPassword,
        deadline: Instant,
    ) -> Result<bool, NoTurn> {
        self.in_turn(deadline, move || {
            let KvPassword {
                kind: KvPasswordKind::Pbkdf2HmacSha512,
                rounds,
                salt,
                hash,
            } = kept;
            let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
            let algorithm = pbkdf2::PBKDF2_HMAC_SHA512;
            pbkdf2::verify(algorithm, rounds, &salt, password.as_bytes(), &hash).is_ok()
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoTurn> {
        let turn = {
            let _waits = self.waiting.try_acquire().map_err(|_| NoTurn)?;
            let turn = timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await;
            turn.map_err(|_| NoTurn)?.map_err(|_| NoTurn)?
        };
        let work = self.tasks.spawn_blocking(move || {
            // Also when nobody waits any more, the turn lasts as long as the work.
            let _turn = turn;
            work()
        });
        // It does not panic, and is not aborted.
        work.await.map_err(|_| NoTurn)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn a_password_fits_what_was_kept_of_it_and_no_other() {
        let passwords = Passwords::new(TaskTracker::new());
        for password in ["secret", "", "é\0"] {
            let derive = || passwords.derive(password.to_owned(), soon());
            let (kept, again) = (derive().await.expect("a turn"), derive().await.expect("a turn"));
            assert_ne!(kept, again, "each has a salt of its own");
            for (tried, want) in [(password, true), ("other", false), ("secret ", false)] {
                let fits = passwords.fits(tried.to_owned(), kept.clone(), soon()).await;
                assert_eq!(fits, Ok(want), "{tried:?} for {password:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_few_are_at_work_and_a_bounded_number_waits() {
        let passwords = Passwords::new(TaskTracker::new());
        let busy = Arc::clone(&passwords.turns);
        let at_work = u32::try_from(PASSWORDS_AT_ONCE).expect("a few");
        let turns = busy.acquire_many(at_work).await.expect("turns");
        let late = passwords.derive("a".to_owned(), Instant::now()).await;
        assert_eq!(late, Err(NoTurn), "its time is up");
        let full = u32::try_from(PASSWORDS_WAITING_MAX).expect("not many");
        let waiting = passwords.waiting.acquire_many(full).await.expect("places");
        drop(turns);
        let refused = passwords.derive("a".to_owned(), soon()).await;
        assert_eq!(refused, Err(NoTurn), "too many wait");
        drop(waiting);
        assert!(passwords.derive("a".to_owned(), soon()).await.is_ok());
    }
}
