//! Randomness for one commit, asked of the system at once.

use getrandom::{Error, SysRng};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

/// More than the usual commit draws: two nonces of 24 bytes, and the bloat of a token.
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
            // Until all of it is there, none may be given out.
            self.used = AT_ONCE;
            SysRng.try_fill_bytes(&mut self.bytes)?;
            self.used = 0;
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
        for length in [24, 100, 24, 200, 256, 257, 1000, 255, 16].into_iter().cycle().take(200) {
            let mut bytes = vec![0; length];
            entropy.try_fill_bytes(&mut bytes).expect("random");
            for word in bytes.chunks_exact(8) {
                assert!(seen.insert(word.to_vec()), "drawn twice");
            }
            let left = &entropy.bytes[..entropy.used];
            assert!(left.iter().all(|byte| *byte == 0), "what was given out is still there");
        }
        assert_ne!(entropy.try_next_u64().expect("random"), entropy.try_next_u64().expect("random"));
        assert_ne!(entropy.try_next_u32().expect("random"), entropy.try_next_u32().expect("random"));
    }
}
