//! Randomness for one commit, asked of the system at once.

use getrandom::{Error, SysRng};
use rand_core::{TryCryptoRng, TryRng};
use secure_sessions_core::format::{HANDOFF_KEY_LEN, NONCE_LEN, SEAL_RANDOM_LEN, SESSION_ID_LEN};
use zeroize::Zeroize;

/// A rotation draws this much: for a token, and for its handoff.
const ROTATION: usize = SEAL_RANDOM_LEN + NONCE_LEN;
/// A session's first token draws this much, with an id and a handoff key.
pub(crate) const FIRST_TOKEN: usize = SESSION_ID_LEN + HANDOFF_KEY_LEN + SEAL_RANDOM_LEN;

const CAPACITY: usize = if FIRST_TOKEN > ROTATION { FIRST_TOKEN } else { ROTATION };

/// The system's randomness. A call to the system costs more than the bytes, so the first one brings all that a rotation
/// needs. The bloat of a token is no part of it: it is expanded from a seed.
///
/// Nothing is given out twice, and nothing outlives the commit.
pub(crate) struct Entropy {
    bytes: [u8; CAPACITY],
    /// The first so many are gone.
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { bytes: [0; CAPACITY], used: CAPACITY }
    }
}

impl Entropy {
    /// Draws at once what is drawn next, and no more than that: every 64 bytes cost the system something, too.
    ///
    /// # Errors
    ///
    /// If the system's randomness fails.
    pub(crate) fn prepare(&mut self, length: usize) -> Result<(), Error> {
        if CAPACITY - self.used < length && length <= CAPACITY {
            // Until all of it is there, none may be given out.
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
