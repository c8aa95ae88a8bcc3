//! The `fiat` feature: RustCrypto's XChaCha20, and a Poly1305 whose field arithmetic is fiat-crypto's.
//!
//! That arithmetic was generated with a machine-checked proof that it computes modulo 2^130 - 5 (Erbsen et al., "Simple
//! High-Level Code for Cryptographic Arithmetic", IEEE S&P 2019); its source has no branches or tables that depend on
//! secrets. What the compiler makes of it is not proven. What is here is the rest of RFC 8439, sections 2.5 and 2.8: the
//! clamp, the blocks, the padding.

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use fiat_crypto::poly1305_64::{
    fiat_poly1305_add, fiat_poly1305_carry_mul, fiat_poly1305_loose_field_element as Loose,
    fiat_poly1305_tight_field_element as Tight, fiat_poly1305_to_bytes,
};
use zeroize::{Zeroize, Zeroizing};

use super::NotAuthentic;
use crate::format::{KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::ids::same;

pub(super) struct Key(Zeroizing<[u8; KEY_LEN]>);

impl Key {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(*key))
    }

    pub(super) fn seal(&self, nonce: &[u8; NONCE_LEN], associated_data: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        let (mut cipher, mac) = self.begin(nonce);
        cipher.apply_keystream(buffer);
        mac.tag(associated_data, buffer)
    }

    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        let (mut cipher, mac) = self.begin(nonce);
        if !same(&mac.tag(associated_data, buffer), tag) {
            return Err(NotAuthentic);
        }
        cipher.apply_keystream(buffer);
        Ok(())
    }

    /// The cipher from its second block on; the first is the one-time key of the MAC (RFC 8439, section 2.6).
    fn begin(&self, nonce: &[u8; NONCE_LEN]) -> (XChaCha20, Poly1305) {
        const BLOCK_LEN: usize = 64;
        let mut cipher = XChaCha20::new((&*self.0).into(), nonce.into());
        let mut block = Zeroizing::new([0; BLOCK_LEN]);
        cipher.apply_keystream(block.as_mut_slice());
        let (halves, _) = block.as_chunks();
        let mac = Poly1305::new(&halves[0], &halves[1]);
        (cipher, mac)
    }
}

/// One message's authenticator (RFC 8439, section 2.5): the blocks as a polynomial at `r` modulo 2^130 - 5, plus `s`.
struct Poly1305 {
    r: Loose,
    s: u128,
    sum: Tight,
}

type Block = [u8; 16];

impl Poly1305 {
    fn new(r: &Block, s: &Block) -> Self {
        const CLAMP: u128 = 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
        let Tight(r) = element(u128::from_le_bytes(*r) & CLAMP, 0);
        Self { r: Loose(r), s: u128::from_le_bytes(*s), sum: Tight([0; 3]) }
    }

    /// Of the AEAD's message (RFC 8439, section 2.8): both parts padded with zeros to whole blocks, then their lengths.
    fn tag(mut self, associated_data: &[u8], ciphertext: &[u8]) -> [u8; TAG_LEN] {
        self.padded(associated_data);
        self.padded(ciphertext);
        let lengths = associated_data.len() as u128 | (ciphertext.len() as u128) << 64;
        self.block(lengths);
        self.finish()
    }

    fn padded(&mut self, part: &[u8]) {
        let (blocks, rest) = part.as_chunks();
        for block in blocks {
            self.block(u128::from_le_bytes(*block));
        }
        if !rest.is_empty() {
            let mut last = Block::default();
            last[..rest.len()].copy_from_slice(rest);
            self.block(u128::from_le_bytes(last));
        }
    }

    #[inline]
    fn block(&mut self, block: u128) {
        let mut sum = Loose([0; 3]);
        fiat_poly1305_add(&mut sum, &self.sum, &element(block, 1));
        fiat_poly1305_carry_mul(&mut self.sum, &sum, &self.r);
    }

    fn finish(&self) -> [u8; TAG_LEN] {
        let mut bytes = [0; 17];
        fiat_poly1305_to_bytes(&mut bytes, &self.sum);
        let (low, _) = bytes.as_chunks();
        u128::from_le_bytes(low[0]).wrapping_add(self.s).to_le_bytes()
    }
}

impl Drop for Poly1305 {
    fn drop(&mut self) {
        (self.r.0, self.sum.0).zeroize();
        self.s.zeroize();
    }
}

/// `high * 2^128 + low`, as limbs of 44, 43 and 43 bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each limb is masked, or what is left above the others")]
fn element(low: u128, high: u64) -> Tight {
    const MASK_44: u64 = (1 << 44) - 1;
    const MASK_43: u64 = (1 << 43) - 1;
    Tight([low as u64 & MASK_44, (low >> 44) as u64 & MASK_43, (low >> 87) as u64 | high << 41])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    /// As the RFC has it: a message that need not be whole blocks, without an AEAD's padding.
    fn poly1305(r: &str, s: &str, message: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = Poly1305::new(&hex::array(r), &hex::array(s));
        for chunk in message.chunks(16) {
            let mut block = [0; 17];
            block[..chunk.len()].copy_from_slice(chunk);
            block[chunk.len()] = 1;
            let mut sum = Loose([0; 3]);
            let (low, high) = block.split_first_chunk().expect("16 bytes");
            fiat_poly1305_add(&mut sum, &mac.sum, &element(u128::from_le_bytes(*low), high[0].into()));
            fiat_poly1305_carry_mul(&mut mac.sum, &sum, &mac.r);
        }
        mac.finish()
    }

    #[test]
    fn poly1305_gives_the_tag_of_rfc_8439_section_2_5_2() {
        let (r, s) = ("85d6be7857556d337f4452fe42d506a8", "0103808afb0db2fd4abff6af4149f51b");
        assert_eq!(
            poly1305(r, s, b"Cryptographic Forum Research Group"),
            hex::array("a8061dc1305136c6c22b8baf0c0127a9")
        );
    }

    /// Those that find a carry that was lost, or a sum that was not reduced, or once too often.
    #[test]
    fn poly1305_gives_the_tags_of_rfc_8439_appendix_a_3() {
        const ZERO: &str = "00000000000000000000000000000000";
        const ONE: &str = "01000000000000000000000000000000";
        const TWO: &str = "02000000000000000000000000000000";
        const FOUR: &str = "01000000000000000400000000000000";
        const ONES: &str = "ffffffffffffffffffffffffffffffff";
        const THREE: &str = "03000000000000000000000000000000";
        const A: &str = "e33594d7505e43b90000000000000000";
        const B: &str = "3394d7505e4379cd0100000000000000";
        let cases: [(&str, &str, &[&str], &str); 7] = [
            (TWO, ZERO, &[ONES], THREE),
            (TWO, ONES, &[TWO], THREE),
            (
                ONE,
                ZERO,
                &[ONES, "f0ffffffffffffffffffffffffffffff", "11000000000000000000000000000000"],
                "05000000000000000000000000000000",
            ),
            (ONE, ZERO, &[ONES, "fbfefefefefefefefefefefefefefefe", "01010101010101010101010101010101"], ZERO),
            (TWO, ZERO, &["fdffffffffffffffffffffffffffffff"], "faffffffffffffffffffffffffffffff"),
            (FOUR, ZERO, &[A, B, ZERO, ONE], "14000000000000005500000000000000"),
            (FOUR, ZERO, &[A, B, ZERO], "13000000000000000000000000000000"),
        ];
        for (number, (r, s, blocks, tag)) in (5..).zip(cases) {
            assert_eq!(poly1305(r, s, &hex::decode(&blocks.concat())), hex::array(tag), "vector {number}");
        }
    }
}
