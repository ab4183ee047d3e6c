//! Randomness. From the operating system, or, once [`seed`] was called on a thread, a function of that seed.
//!
//! A simulation runs a whole cluster on one thread and seeds that thread; nothing else ever calls [`seed`].

use std::cell::RefCell;
use std::convert::Infallible;

use rand::rngs::{StdRng, ThreadRng};
use rand::{Rng, SeedableRng, TryRng};

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Makes this thread's randomness a function of `seed` from here on.
pub fn seed(seed: u64) {
    SEEDED.with(|source| *source.borrow_mut() = Some(StdRng::seed_from_u64(seed)));
}

/// 64 random bits.
#[must_use]
pub fn random_u64() -> u64 {
    rng().next_u64()
}

/// 128 random bits: unique wherever it is used as an id.
#[must_use]
pub fn random_u128() -> u128 {
    let mut rng = rng();
    (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64())
}

/// A fraction in `[0, 1)`, for jitter.
#[must_use]
pub fn random_fraction() -> f64 {
    // 53 bits are what a double holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "the 53 bits fit")]
    let numerator = (random_u64() >> 11) as f64;
    numerator / (1_u64 << 53) as f64
}

/// A generator on this thread's source of randomness.
#[must_use]
pub fn rng() -> Entropy {
    SEEDED.with(|source| match source.borrow_mut().as_mut() {
        Some(seeded) => Entropy::Seeded(Box::new(StdRng::seed_from_u64(seeded.next_u64()))),
        None => Entropy::System(rand::rng()),
    })
}

/// See [`rng`].
#[derive(Debug)]
pub enum Entropy {
    /// The operating system's randomness, expanded by a generator of this thread.
    System(ThreadRng),
    /// A function of the thread's seed and of how often it was asked.
    Seeded(Box<StdRng>),
}

impl TryRng for Entropy {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(match self {
            Self::System(rng) => rng.next_u32(),
            Self::Seeded(rng) => rng.next_u32(),
        })
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(match self {
            Self::System(rng) => rng.next_u64(),
            Self::Seeded(rng) => rng.next_u64(),
        })
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), Infallible> {
        match self {
            Self::System(rng) => rng.fill_bytes(destination),
            Self::Seeded(rng) => rng.fill_bytes(destination),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_thread_repeats_itself_and_others_do_not() {
        let run = |value| {
            std::thread::spawn(move || {
                seed(value);
                (random_u128(), random_u64(), random_fraction())
            })
            .join()
            .expect("the thread does not panic")
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert_ne!(random_u128(), random_u128());
    }
}
