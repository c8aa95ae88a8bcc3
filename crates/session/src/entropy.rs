//! Randomness for one commit, asked of the system at once.

use getrandom::{Error, SysRng};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

/// As much as most commits draw: two nonces of 24 bytes, and the bloat of a token.
const AT_ONCE: usize = 256;

/// The system's randomness. A call to the system costs more than the bytes, so the first one brings some for the next.
///
/// Nothing is given out twice, and nothing outlives the commit.
pub(crate) struct Entropy {
    bytes: [u8; AT_ONCE],
    /// The first so many are gone.
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { bytes: [0; AT_ONCE], used: AT_ONCE }
    }
}

impl Entropy {
    /// Draws at once what is drawn next, and no more than that: every 64 bytes cost the system something, too.
    ///
    /// # Errors
    ///
    /// If the system's randomness fails.
    pub(crate) fn prepare(&mut self, length: usize) -> Result<(), Error> {
        if AT_ONCE - self.used < length && length <= AT_ONCE {
            // Until all of it is there, none may be given out.
            self.used = AT_ONCE;
            SysRng.try_fill_bytes(&mut self.bytes[AT_ONCE - length..])?;
            self.used = AT_ONCE - length;
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
        if output.len() > AT_ONCE - self.used {
            if output.len() > AT_ONCE {
                return SysRng.try_fill_bytes(output);
            }
            self.prepare(AT_ONCE)?;
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
    fn nothing_is_given_out_twice_across_any_number_of_refills() {
        let mut entropy = Entropy::default();
        let mut seen = HashSet::new();
        for (turn, length) in [24, 100, 24, 200, 256, 257, 1000, 255, 16].into_iter().cycle().take(200).enumerate() {
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
        entropy.prepare(AT_ONCE - used).expect("random");
        assert_eq!(entropy.used, used, "what is there already is not drawn again");
        assert_ne!(entropy.try_next_u64().expect("random"), entropy.try_next_u64().expect("random"));
        assert_ne!(entropy.try_next_u32().expect("random"), entropy.try_next_u32().expect("random"));
    }
}
