//! The clients of the machine that this run of the replica is, and the numbers that it gives its writes.
//!
//! Promises: a number belongs to one write and is settled when it is dropped: then its answer is in the caller's hands, or
//! the caller gave up and nobody will send it again. A client that the machine has forgotten gets no further numbers.
//! Several clients instead of one, because one bears few writes in flight; a further one only when the first are full.
//!
//! Left out on purpose: registering, which is a write itself; see [`super::Forwarder`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_machine::RequestId;
use quorate_types::ClientId;
use quorate_types::limits::FORWARDING_CLIENTS_MAX;

use super::ledger::Ledger;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    registered: Mutex<Vec<Arc<Registered>>>,
}

/// A client that the machine knows, and its numbers.
#[derive(Debug)]
struct Registered {
    client: ClientId,
    ledger: Mutex<Ledger>,
}

/// The number of one write.
#[derive(Debug)]
pub(super) struct Number {
    registered: Arc<Registered>,
    sequence: u64,
}

impl Numbers {
    /// A number of the first client that has room.
    pub(super) fn take(&self) -> Option<Number> {
        let registered = lock(&self.registered);
        registered.iter().find_map(|registered| {
            let sequence = lock(&registered.ledger).take()?;
            Some(Number {
                registered: Arc::clone(registered),
                sequence,
            })
        })
    }

    /// There may be no further client.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.registered).len() >= FORWARDING_CLIENTS_MAX
    }

    /// The machine knows this client from now on.
    pub(super) fn registered(&self, client: ClientId) {
        lock(&self.registered).push(Arc::new(Registered {
            client,
            ledger: Mutex::new(Ledger::new()),
        }));
    }

    /// The machine does not know the client of `number` any more.
    pub(super) fn forgotten(&self, number: &Number) {
        lock(&self.registered).retain(|known| !Arc::ptr_eq(known, &number.registered));
    }
}

impl Number {
    /// The request id for an attempt that leaves now.
    pub(super) fn request(&self) -> RequestId {
        RequestId {
            client: self.registered.client,
            sequence: self.sequence,
            floor: lock(&self.registered.ledger).floor(),
        }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        lock(&self.registered.ledger).settle(self.sequence);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(numbers: &Numbers) -> Vec<Number> {
        std::iter::from_fn(|| numbers.take()).collect()
    }

    #[test]
    fn a_further_client_is_used_only_while_the_first_is_full() {
        let numbers = Numbers::default();
        assert!(numbers.take().is_none(), "nobody is registered");
        numbers.registered(ClientId(1));
        let mut first = all(&numbers);
        numbers.registered(ClientId(2));
        let second = numbers.take().expect("room at the second client");
        assert_eq!(second.request().client, ClientId(2));
        first.remove(0);
        let next = numbers.take().expect("room at the first client");
        let (client, floor) = (next.request().client, next.request().floor);
        assert_eq!((client, floor), (ClientId(1), 2));
    }

    #[test]
    fn a_forgotten_client_gets_no_numbers_and_the_others_keep_theirs() {
        let numbers = Numbers::default();
        numbers.registered(ClientId(1));
        let old = numbers.take().expect("a number");
        numbers.forgotten(&old);
        assert!(numbers.take().is_none());
        numbers.registered(ClientId(2));
        numbers.forgotten(&old);
        let new = numbers
            .take()
            .expect("an old number says nothing of a new client");
        assert_eq!((new.request().client, new.request().sequence), (ClientId(2), 1));
    }

    #[test]
    fn clients_are_bounded() {
        let numbers = Numbers::default();
        for client in 0..FORWARDING_CLIENTS_MAX {
            assert!(!numbers.is_full());
            numbers.registered(ClientId(client as u128));
        }
        assert!(numbers.is_full());
    }
}
