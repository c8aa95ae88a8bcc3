//! Randomness for one commit, fetched from the system in one call.

use getrandom::{Error, SysRng};
use rand_core::{TryCryptoRng, TryRng};
use secure_sessions_core::format::{HANDOFF_KEY_LEN, NONCE_LEN, SEAL_RANDOM_LEN, SESSION_ID_LEN};
use zeroize::Zeroize;

/// The random bytes of a rotation: for a token and its handoff.
const ROTATION: usize = SEAL_RANDOM_LEN + NONCE_LEN;
/// The random bytes of a session's first token, its id and its handoff key.
pub(crate) const FIRST_TOKEN: usize = SESSION_ID_LEN + HANDOFF_KEY_LEN + SEAL_RANDOM_LEN;

const CAPACITY: usize = if FIRST_TOKEN > ROTATION { FIRST_TOKEN } else { ROTATION };

/// A buffer over the system's random generator. A call to the system costs more than the bytes, so the first call
/// fetches all that a rotation needs. The bloat of a token is not drawn from here: it is expanded from a seed.
///
/// No byte is returned twice, and no byte outlives the commit.
pub(crate) struct Entropy {
    bytes: [u8; CAPACITY],
    /// The number of bytes, from the start, that are used up.
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { bytes: [0; CAPACITY], used: CAPACITY }
    }
}

impl Entropy {
    /// Fetches in one call the `length` bytes that are drawn next, and no more: every further 64 bytes have a cost too.
    ///
    /// # Errors
    ///
    /// Returns the system's error if its randomness fails.
    pub(crate) fn prepare(&mut self, length: usize) -> Result<(), Error> {
        if CAPACITY - self.used < length && length <= CAPACITY {
            // A failed call may leave the buffer half filled, so no byte of it may be drawn before the call succeeds.
            self.used = CAPACITY;
            SysRng.try_fill_bytes(&mut self.bytes[CAPACITY - length..])?;
            self.used = CAPACITY - length;
        }
        Ok(())
    }
}

impl TryRng for Entropy {
    type Error = Error;

    fn try_next_u32(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Error> {
        if output.len() > CAPACITY - self.used {
            if output.len() > CAPACITY {
                return SysRng.try_fill_bytes(output);
            }
            self.prepare(ROTATION.max(output.len()))?;
        }
        let drawn = &mut self.bytes[self.used..][..output.len()];
        output.copy_from_slice(drawn);
        drawn.fill(0);
        self.used += output.len();
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

impl Drop for Entropy {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_rotation_and_a_first_token_take_one_call_each() {
        let left = |entropy: &Entropy| CAPACITY - entropy.used;
        let mut rotation = Entropy::default();
        for length in [SEAL_RANDOM_LEN, NONCE_LEN] {
            rotation.try_fill_bytes(&mut vec![0; length]).expect("random");
        }
        assert_eq!(left(&rotation), 0, "80 bytes were drawn, and all of them given out");
        let mut first = Entropy::default();
        first.prepare(FIRST_TOKEN).expect("random");
        for length in [SESSION_ID_LEN, HANDOFF_KEY_LEN, SEAL_RANDOM_LEN] {
            first.try_fill_bytes(&mut vec![0; length]).expect("random");
        }
        assert_eq!(left(&first), 0);
    }

    #[test]
    fn nothing_is_given_out_twice_across_any_number_of_refills() {
        let mut entropy = Entropy::default();
        let mut seen = HashSet::new();
        for (turn, length) in
            [56, 24, 24, 80, 16, 32, 56, 104, 105, 1000, 103, 16].into_iter().cycle().take(200).enumerate()
        {
            let mut bytes = vec![0; length];
            if turn % 4 == 0 {
                entropy.prepare(length + turn).expect("random");
            }
            entropy.try_fill_bytes(&mut bytes).expect("random");
            for word in bytes.chunks_exact(8) {
                assert!(seen.insert(word.to_vec()), "drawn twice");
            }
            let left = &entropy.bytes[..entropy.used];
            assert!(left.iter().all(|byte| *byte == 0), "what was given out is still there");
        }
        entropy.prepare(100).expect("random");
        let used = entropy.used;
        entropy.prepare(CAPACITY - used).expect("random");
        assert_eq!(entropy.used, used, "what is there already is not drawn again");
        assert_ne!(entropy.try_next_u64().expect("random"), entropy.try_next_u64().expect("random"));
        assert_ne!(entropy.try_next_u32().expect("random"), entropy.try_next_u32().expect("random"));
    }
}
