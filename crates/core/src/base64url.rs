//! base64url without padding (RFC 4648, section 5), one spelling for each byte string.

use base64_simd::URL_SAFE_NO_PAD;

/// A text that is not canonical base64url: padding, white space, other characters, or trailing bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotCanonical;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

pub(crate) fn encode_into(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_append(bytes, text);
}

pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, NotCanonical> {
    URL_SAFE_NO_PAD.decode_to_vec(text).map_err(|_| NotCanonical)
}

/// Decodes into a vector with room for more bytes.
pub(crate) fn decode_with_room(text: &[u8], room: usize) -> Result<Vec<u8>, NotCanonical> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2 + room);
    URL_SAFE_NO_PAD.decode_append(text, &mut bytes).map_err(|_| NotCanonical)?;
    Ok(bytes)
}

/// Returns the number of characters that `n` bytes take.
pub(crate) const fn encoded_len(n: usize) -> usize {
    n / 3 * 4
        + match n % 3 {
            0 => 0,
            1 => 2,
            _ => 3,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_string_has_exactly_one_spelling() {
        for length in 0..70_usize {
            let bytes: Vec<u8> = (0..=255_u8).map(|i| i.wrapping_mul(37)).take(length).collect();
            let text = encode(&bytes);
            assert_eq!(text.len(), encoded_len(length));
            assert_eq!(decode(text.as_bytes()), Ok(bytes.clone()));
            assert_eq!(decode_with_room(text.as_bytes(), 7), Ok(bytes.clone()));
            // Every other last character either fails or gives other bytes: trailing bits are refused.
            let Some((last, rest)) = text.as_bytes().split_last() else { continue };
            for other in 0..=255_u8 {
                let mut changed = rest.to_vec();
                changed.push(other);
                if other != *last
                    && let Ok(decoded) = decode(&changed)
                {
                    assert_ne!(decoded, bytes);
                    assert_eq!(encode(&decoded).as_bytes(), changed);
                }
            }
        }
    }

    #[test]
    fn other_alphabets_padding_and_white_space_are_refused() {
        for text in
            ["AA==", "AA=", "+A", "/A", "A A", " AA", "AA ", "AA\n", "\"AA\"", "%41A", "A", "AAAAA", "AB", "AAB"]
        {
            assert_eq!(decode(text.as_bytes()), Err(NotCanonical), "{text:?}");
            assert_eq!(decode_with_room(text.as_bytes(), 0), Err(NotCanonical), "{text:?}");
        }
        assert_eq!(decode(b"-_8"), Ok(vec![0xfb, 0xff]));
    }
}
