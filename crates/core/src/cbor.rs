//! The outline of CBOR (RFC 8949): heads and lengths, without building values.

use ciborium_ll::{Decoder, Encoder, Header};

use crate::format::MAX_DEPTH;

/// Bytes that are not well-formed CBOR within our bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The item is not well-formed, cut off, or followed by more bytes.
    #[error("not one well-formed CBOR item")]
    Malformed,
    /// The item is nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels; flatten the value")]
    TooDeep,
}

/// Takes one head off `input`.
///
/// The heads that sessions are made of, numbers and definite lengths, are read here, once for each item of every request;
/// all others by the library. A test holds both against each other.
#[inline]
pub(crate) fn head(input: &mut &[u8]) -> Result<Header, CborError> {
    let Some((major, number, end)) = argument(input, 0) else { return uncommon_head(input) };
    let length = || usize::try_from(number).ok();
    let header = match major {
        POSITIVE => Header::Positive(number),
        NEGATIVE => Header::Negative(number),
        BYTES => Header::Bytes(length()),
        TEXT => Header::Text(length()),
        ARRAY => Header::Array(length()),
        MAP => Header::Map(length()),
        _ => return uncommon_head(input),
    };
    *input = &input[end..];
    Ok(header)
}

pub(crate) const POSITIVE: u8 = 0;
pub(crate) const NEGATIVE: u8 = 1;
pub(crate) const BYTES: u8 = 2;
pub(crate) const TEXT: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;
pub(crate) const TAG: u8 = 6;

/// Returns the major type, the argument and the end of a head with an argument (RFC 8949, section 3).
#[inline]
fn argument(bytes: &[u8], at: usize) -> Option<(u8, u64, usize)> {
    let (first, rest) = bytes.get(at..)?.split_first()?;
    let (number, length) = match first & 0x1f {
        small @ 0..24 => (small.into(), 0),
        24 => ((*rest.first()?).into(), 1),
        25 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 2),
        26 => (u32::from_be_bytes(*rest.first_chunk()?).into(), 4),
        27 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
        _ => return None,
    };
    Some((first >> 5, number, at + 1 + length))
}

#[cold]
fn uncommon_head(input: &mut &[u8]) -> Result<Header, CborError> {
    let mut decoder = Decoder::from(*input);
    let header = decoder.pull().map_err(|_| CborError::Malformed)?;
    let offset = decoder.offset();
    *input = input.get(offset..).ok_or(CborError::Malformed)?;
    Ok(header)
}

/// Takes `length` bytes off `input`.
pub(crate) fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], CborError> {
    let (taken, rest) = input.split_at_checked(length).ok_or(CborError::Malformed)?;
    *input = rest;
    Ok(taken)
}

/// Takes one text of definite length off `input`.
pub(crate) fn text<'a>(input: &mut &'a [u8]) -> Result<&'a str, CborError> {
    let Header::Text(Some(length)) = head(input)? else { return Err(CborError::Malformed) };
    core::str::from_utf8(take(input, length)?).map_err(|_| CborError::Malformed)
}

/// Takes one item of any kind off `input` and returns its bytes.
pub(crate) fn item<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CborError> {
    let end = item_end(input, 0)?;
    take(input, end)
}

/// Returns `true` if two well-formed items are equal, apart from the order of map entries at any depth.
#[inline]
pub(crate) fn is_same(left: &[u8], right: &[u8]) -> bool {
    left == right || (may_be_reordered(left, right) && have_same_parts(left, right).unwrap_or(false))
}

/// Returns `true` if two items may differ in order alone. Most that differ have another length or sum of bytes.
fn may_be_reordered(left: &[u8], right: &[u8]) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    left.len() == right.len() && left.first() == right.first() && sum(left) == sum(right)
}

#[cold]
fn have_same_parts(mut left: &[u8], mut right: &[u8]) -> Result<bool, CborError> {
    let header = head(&mut left)?;
    if head(&mut right)? != header {
        return Ok(false);
    }
    match header {
        Header::Map(count) => {
            let (mut left, mut right) = (entries(left, count)?, entries(right, count)?);
            left.sort_by_key(|(key, _)| *key);
            right.sort_by_key(|(key, _)| *key);
            let mut pairs = left.iter().zip(&right);
            Ok(left.len() == right.len() && pairs.all(|(left, right)| left.0 == right.0 && is_same(left.1, right.1)))
        }
        Header::Array(count) => have_same_items(left, right, count),
        Header::Tag(_) => Ok(is_same(left, right)),
        _ => Ok(left == right),
    }
}

fn have_same_items(mut left: &[u8], mut right: &[u8], count: Option<usize>) -> Result<bool, CborError> {
    let mut number = 0;
    while !is_end(left, number, count) && !is_end(right, number, count) {
        if !is_same(item(&mut left)?, item(&mut right)?) {
            return Ok(false);
        }
        number += 1;
    }
    Ok(is_end(left, number, count) && is_end(right, number, count))
}

/// A key and its value, encoded.
type Entry<'a> = (&'a [u8], &'a [u8]);

/// Returns the entries of a map; `input` is everything after its head.
fn entries(mut input: &[u8], count: Option<usize>) -> Result<Vec<Entry<'_>>, CborError> {
    let mut entries = Vec::new();
    while !is_end(input, entries.len(), count) {
        entries.push((item(&mut input)?, item(&mut input)?));
    }
    Ok(entries)
}

/// Returns `true` if `input` is past the last of `count` items, or at the break that ends them.
fn is_end(input: &[u8], number: usize, count: Option<usize>) -> bool {
    count.map_or_else(|| input.first() == Some(&BREAK), |count| number == count)
}

/// Ends an item of indefinite length.
pub(crate) const BREAK: u8 = 0xff;
pub(crate) const NULL: u8 = 0xf6;
pub(crate) const UNDEFINED: u8 = 0xf7;
/// The tags of integers that take more than 64 bits (RFC 8949, section 3.4.3).
pub(crate) const POSITIVE_BIGNUM: u64 = 2;
pub(crate) const NEGATIVE_BIGNUM: u64 = 3;

/// Returns the range of the text of definite length whose head is at `at`.
#[inline]
pub(crate) fn text_at(bytes: &[u8], at: usize) -> Result<(usize, usize), CborError> {
    match argument(bytes, at) {
        Some((TEXT, length, start)) => Ok((start, text_end(bytes, start, length)?)),
        _ => Err(CborError::Malformed),
    }
}

/// Returns the end offset of the item of any kind that starts at `at`.
pub(crate) fn item_end(bytes: &[u8], at: usize) -> Result<usize, CborError> {
    end(bytes, at, MAX_DEPTH)
}

fn skip(input: &mut &[u8], depth: usize) -> Result<(), CborError> {
    let end = end(input, 0, depth)?;
    take(input, end).map(|_| ())
}

/// Every request walks all items of its session, so the most frequent kinds are handled without a call.
#[inline]
fn end(bytes: &[u8], at: usize, depth: usize) -> Result<usize, CborError> {
    if depth == 0 {
        return Err(CborError::TooDeep);
    }
    match bytes.get(at).map(|first| FIXED_LEN[usize::from(*first)]) {
        None => Err(CborError::Malformed),
        Some(0) => end_of_other(bytes, at, depth),
        Some(length) => bytes_end(bytes, at, length.into()),
    }
}

fn end_of_other(bytes: &[u8], at: usize, depth: usize) -> Result<usize, CborError> {
    match argument(bytes, at) {
        Some((BYTES, length, start)) => bytes_end(bytes, start, length),
        Some((TEXT, length, start)) => text_end(bytes, start, length),
        Some((ARRAY, count, start)) => items_end(bytes, start, Some(count), depth),
        Some((MAP, count, start)) => items_end(bytes, start, count.checked_mul(2), depth),
        Some((TAG, _, start)) => end(bytes, start, depth - 1),
        _ => {
            let mut rest = &bytes[at..];
            skip_uncommon(&mut rest, depth)?;
            Ok(bytes.len() - rest.len())
        }
    }
}

/// Returns the offset `length` bytes after `start`, if there are as many.
#[inline]
fn bytes_end(bytes: &[u8], start: usize, length: u64) -> Result<usize, CborError> {
    let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
    end.filter(|end| *end <= bytes.len()).ok_or(CborError::Malformed)
}

/// Returns the same for bytes that must be UTF-8.
#[inline]
fn text_end(bytes: &[u8], start: usize, length: u64) -> Result<usize, CborError> {
    let end = bytes_end(bytes, start, length)?;
    let text = &bytes[start..end];
    if text.is_ascii() || core::str::from_utf8(text).is_ok() { Ok(end) } else { Err(CborError::Malformed) }
}

fn items_end(bytes: &[u8], start: usize, count: Option<u64>, depth: usize) -> Result<usize, CborError> {
    // Each item takes a byte at least, so a count beyond that needs no loop to be refused.
    let left = bytes.len() - start;
    let count = count.and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= left);
    let (mut at, mut left) = (start, count.ok_or(CborError::Malformed)?);
    while left > 0 {
        let item = at;
        at = end(bytes, item, depth - 1)?;
        left -= 1;
        // Numbers in a list are often of one width. One that begins as the one before it did is as long, so the processor
        // need not wait for the byte that it has read to know where to read next.
        let (first, length) = (bytes[item], FIXED_LEN[usize::from(bytes[item])]);
        while length > 0 && left > 0 && bytes.get(at) == Some(&first) {
            at += usize::from(length);
            left -= 1;
        }
    }
    if at <= bytes.len() { Ok(at) } else { Err(CborError::Malformed) }
}

/// Returns the length of an item that begins with this byte, or zero if the byte alone does not tell.
const FIXED_LEN: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut first = 0;
    while first < lengths.len() {
        lengths[first] = match first {
            0x00..=0x17 | 0x20..=0x37 | 0xf4..=0xf7 => 1,
            0x18 | 0x38 => 2,
            0x19 | 0x39 | 0xf9 => 3,
            0x1a | 0x3a | 0xfa => 5,
            0x1b | 0x3b | 0xfb => 9,
            _ => 0,
        };
        first += 1;
    }
    lengths
};

/// Handles items of indefinite length, and the simple values that applications seldom store.
#[cold]
fn skip_uncommon(input: &mut &[u8], depth: usize) -> Result<(), CborError> {
    match uncommon_head(input)? {
        Header::Float(_) | Header::Simple(_) => Ok(()),
        Header::Bytes(None) => skip_byte_chunks(input),
        Header::Text(None) => skip_text_chunks(input),
        Header::Array(None) => skip_until_break(input, depth).map(|_| ()),
        Header::Map(None) if skip_until_break(input, depth)? % 2 == 0 => Ok(()),
        _ => Err(CborError::Malformed),
    }
}

fn skip_until_break(input: &mut &[u8], depth: usize) -> Result<usize, CborError> {
    let mut count = 0;
    loop {
        if input.first() == Some(&BREAK) {
            take(input, 1)?;
            return Ok(count);
        }
        skip(input, depth - 1)?;
        count += 1;
    }
}

fn skip_byte_chunks(input: &mut &[u8]) -> Result<(), CborError> {
    loop {
        match head(input)? {
            Header::Break => return Ok(()),
            Header::Bytes(Some(length)) => take(input, length)?,
            _ => return Err(CborError::Malformed),
        };
    }
}

fn skip_text_chunks(input: &mut &[u8]) -> Result<(), CborError> {
    loop {
        match head(input)? {
            Header::Break => return Ok(()),
            Header::Text(Some(length)) => {
                core::str::from_utf8(take(input, length)?).map_err(|_| CborError::Malformed)?;
            }
            _ => return Err(CborError::Malformed),
        }
    }
}

/// Returns the length of the head of this number, or of an item of this length.
pub(crate) fn head_len(number: u64) -> usize {
    match number {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// Returns one head, as the first bytes of an array, and their number.
pub(crate) fn head_bytes(header: Header) -> ([u8; MAX_HEAD], usize) {
    let mut bytes = [0; MAX_HEAD];
    let mut rest = &mut bytes[..];
    // Cannot fail: there is room for the longest head.
    let pushed = Encoder::from(&mut rest).push(header);
    debug_assert!(pushed.is_ok());
    let length = MAX_HEAD - rest.len();
    (bytes, length)
}

/// Appends one head: as [`head`] reads them, the frequent ones are written here.
#[inline]
pub(crate) fn push_head(output: &mut Vec<u8>, header: Header) {
    let (major, number) = match header {
        Header::Positive(number) => (0, number),
        Header::Bytes(Some(length)) => (BYTES, length as u64),
        Header::Text(Some(length)) => (TEXT, length as u64),
        Header::Map(Some(count)) => (MAP, count as u64),
        _ => return push_uncommon_head(output, header),
    };
    let bytes = number.to_be_bytes();
    let (argument, followed_by) = match head_len(number) {
        1 => (bytes[7], 0),
        2 => (24, 1),
        3 => (25, 2),
        5 => (26, 4),
        _ => (27, 8),
    };
    output.push(major << 5 | argument);
    output.extend_from_slice(&bytes[bytes.len() - followed_by..]);
}

fn push_uncommon_head(output: &mut Vec<u8>, header: Header) {
    let (head, length) = head_bytes(header);
    output.extend_from_slice(&head[..length]);
}

/// Appends one byte string.
pub(crate) fn push_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    push_head(output, Header::Bytes(Some(bytes.len())));
    output.extend_from_slice(bytes);
}

/// Appends one text.
pub(crate) fn push_text(output: &mut Vec<u8>, text: &str) {
    push_head(output, Header::Text(Some(text.len())));
    output.extend_from_slice(text.as_bytes());
}

/// The most bytes of one head.
pub(crate) const MAX_HEAD: usize = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the head that is read and the input that is left, as text: a NaN is not equal to itself.
    fn read(head: fn(&mut &[u8]) -> Result<Header, CborError>, mut bytes: &[u8]) -> (String, &[u8]) {
        (format!("{:?}", head(&mut bytes)), bytes)
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_the_library_reads_it(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            prop_assert_eq!(read(head, &bytes), read(uncommon_head, &bytes));
        }

        #[test]
        fn an_item_ends_where_its_heads_say(bytes in almost_cbor(), depth in 1..5_usize) {
            let mut rest = bytes.as_slice();
            let by_heads = skip_by_heads(&mut rest, depth).map(|()| bytes.len() - rest.len());
            prop_assert_eq!(end(&bytes, 0, depth), by_heads);
            let behind = [&[0x18][..], &bytes].concat();
            prop_assert_eq!(end(&behind, 1, depth), by_heads.map(|end| end + 1));

            let mut rest = bytes.as_slice();
            let read = text(&mut rest).map(|text| (bytes.len() - rest.len() - text.len(), bytes.len() - rest.len()));
            prop_assert_eq!(text_at(&bytes, 0), read);
            prop_assert_eq!(text_at(&behind, 1), read.map(|(start, end)| (start + 1, end + 1)));
        }
    }

    /// Does the same with the library's heads alone.
    fn skip_by_heads(input: &mut &[u8], depth: usize) -> Result<(), CborError> {
        if depth == 0 {
            return Err(CborError::TooDeep);
        }
        let items = |input: &mut &[u8], count: Option<usize>| match count {
            Some(count) if count <= input.len() => (0..count).try_for_each(|_| skip_by_heads(input, depth - 1)),
            _ => Err(CborError::Malformed),
        };
        match uncommon_head(input)? {
            Header::Positive(_) | Header::Negative(_) | Header::Float(_) | Header::Simple(_) => Ok(()),
            Header::Tag(_) => skip_by_heads(input, depth - 1),
            Header::Bytes(Some(length)) => take(input, length).map(|_| ()),
            Header::Text(Some(length)) => {
                core::str::from_utf8(take(input, length)?).map(|_| ()).map_err(|_| CborError::Malformed)
            }
            Header::Array(Some(count)) => items(input, Some(count)),
            Header::Map(Some(count)) => items(input, count.checked_mul(2)),
            Header::Bytes(None) => skip_byte_chunks(input),
            Header::Text(None) => skip_text_chunks(input),
            Header::Array(None) => skip_until_break(input, depth).map(|_| ()),
            Header::Map(None) if skip_until_break(input, depth)? % 2 == 0 => Ok(()),
            Header::Map(None) | Header::Break => Err(CborError::Malformed),
        }
    }

    /// Makes heads of every kind and length with their contents, well-formed or nearly so.
    fn almost_cbor() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![4 => 0..6_usize, 1 => 23..30_usize, 1 => 250..300_usize];
        let head = (0..8_u8, length, 0..6_u8).prop_map(|(major, length, written)| {
            let number = u64::try_from(length).unwrap_or(0).to_be_bytes();
            let (info, bytes) = match written {
                0 | 1 if length < 24 => (number[7], 0),
                0..=2 if length < 256 => (24, 1),
                0..=3 => (25, 2),
                4 => (26, 4),
                _ => (27, 8),
            };
            let mut item = vec![major << 5 | info];
            item.extend_from_slice(&number[8 - bytes..]);
            if matches!(major, BYTES | TEXT) {
                item.extend(core::iter::repeat_n(b'x', length));
            }
            item
        });
        let piece = prop_oneof![
            8 => head,
            1 => Just(vec![0x62, 0xc3, 0xa4]),
            1 => Just(vec![0x61, 0xc3]),
            1 => prop::sample::select(vec![0x5f, 0x7f, 0x9f, 0xbf, 0xff, 0xf4, 0xf8]).prop_map(|byte| vec![byte]),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        (prop::collection::vec(piece, 1..12), 0..3_usize).prop_map(|(pieces, cut)| {
            let mut bytes = pieces.concat();
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            bytes
        })
    }

    #[test]
    fn a_number_that_is_none_is_read_as_the_library_reads_it() {
        for bytes in [&[0xf9, 0x7c, 0x01][..], &[0xfa, 0x7f, 0xc0, 0, 0], &[0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(read(head, bytes), ("Ok(Float(NaN))".to_owned(), &[][..]));
            assert_eq!(read(head, bytes), read(uncommon_head, bytes));
        }
    }

    #[test]
    fn a_length_known_from_the_first_byte_is_the_length_that_the_library_reads() {
        for first in 0..=u8::MAX {
            let bytes = [&[first][..], &[1; 8]].concat();
            let mut rest = bytes.as_slice();
            let length = match uncommon_head(&mut rest) {
                Ok(Header::Positive(_) | Header::Negative(_) | Header::Float(_)) => bytes.len() - rest.len(),
                // The simple values that serde knows.
                Ok(Header::Simple(20..=23)) => 1,
                _ => 0,
            };
            assert_eq!(usize::from(FIXED_LEN[usize::from(first)]), length, "{first:#x}");
        }
    }

    #[test]
    fn nesting_is_bounded_whatever_it_is_made_of() {
        let kinds: [(&str, &[u8], &[u8]); 5] = [
            ("arrays", &[0x81], &[]),
            ("arrays of no said length", &[0x9f], &[0xff]),
            ("maps", &[0xa1, 0x00], &[]),
            ("maps of no said length", &[0xbf, 0x00], &[0xff]),
            ("tags", &[0xc1], &[]),
        ];
        for (kind, before, after) in kinds {
            let nested = |levels| [before.repeat(levels), vec![0x00], after.repeat(levels)].concat();
            let deepest = nested(MAX_DEPTH - 1);
            assert_eq!(item(&mut deepest.as_slice()), Ok(deepest.as_slice()), "{kind}");
            assert_eq!(item(&mut nested(MAX_DEPTH).as_slice()), Err(CborError::TooDeep), "{kind}");
        }
    }

    #[test]
    fn items_that_begin_alike_need_not_end_alike() {
        let lists: [&[u8]; 4] = [
            &[0x82, 0x81, 0x01, 0x81, 0x19, 0x03, 0xe8],
            &[0x82, 0x78, 0x01, b'a', 0x78, 0x02, b'b', b'c'],
            &[0x83, 0x19, 0x01, 0x00, 0x19, 0x61, 0xff, 0x18, 0x20],
            &[0x84, 0x61, b'a', 0xf6, 0x61, b'b', 0xf6],
        ];
        for list in lists {
            let input = [list, &[0x01]].concat();
            let mut rest = input.as_slice();
            assert_eq!((item(&mut rest), rest), (Ok(list), &[0x01][..]), "{list:02x?}");
        }
        let second_is_no_text = [0x82, 0x61, b'a', 0x61, 0xff];
        assert_eq!(item(&mut second_is_no_text.as_slice()), Err(CborError::Malformed));
        let second_is_cut_off = [0x82, 0x19, 0x01, 0x00, 0x19, 0x01];
        assert_eq!(item(&mut second_is_cut_off.as_slice()), Err(CborError::Malformed));
    }

    #[test]
    fn chunks_are_of_their_own_kind_and_end_with_a_break() {
        let whole: [&[u8]; 6] = [
            &[0x5f, 0xff],
            &[0x5f, 0x41, 0xaa, 0x42, 0xbb, 0xcc, 0xff],
            &[0x5f, 0x40, 0xff],
            &[0x7f, 0xff],
            &[0x7f, 0x61, b'a', 0x62, b'b', b'c', 0xff],
            &[0x7f, 0x60, 0xff],
        ];
        for bytes in whole {
            let input = [bytes, &[0x01]].concat();
            let mut rest = input.as_slice();
            assert_eq!((item(&mut rest), rest), (Ok(bytes), &[0x01][..]), "{bytes:02x?}");
        }
        let broken: [(&[u8], &str); 10] = [
            (&[0x5f], "no end"),
            (&[0x5f, 0x41, 0xaa], "no end after a chunk"),
            (&[0x5f, 0x42, 0xaa, 0xff], "a chunk that takes the end for itself"),
            (&[0x5f, 0x61, b'a', 0xff], "a text among bytes"),
            (&[0x5f, 0x5f, 0xff, 0xff], "chunks of chunks"),
            (&[0x7f], "no end of a text"),
            (&[0x7f, 0x41, 0xaa, 0xff], "bytes in a text"),
            (&[0x7f, 0x01, 0xff], "a number in a text"),
            (&[0x7f, 0x61, 0xff, 0xff], "a chunk that is no UTF-8"),
            (&[0x7f, 0x7f, 0xff, 0xff], "texts in chunks of chunks"),
        ];
        for (bytes, what) in broken {
            assert_eq!(item(&mut &*bytes), Err(CborError::Malformed), "{what}");
        }
    }

    #[test]
    fn the_order_of_a_maps_entries_does_not_count_and_that_of_an_array_does() {
        let same: [(&[u8], &[u8]); 5] = [
            (&[0xa2, 1, 2, 3, 4], &[0xa2, 3, 4, 1, 2]),
            (&[0xbf, 1, 2, 3, 4, 0xff], &[0xbf, 3, 4, 1, 2, 0xff]),
            (&[0x82, 0x00, 0xa2, 1, 2, 3, 4], &[0x82, 0x00, 0xa2, 3, 4, 1, 2]),
            (&[0x9f, 0xa2, 1, 2, 3, 4, 0xff], &[0x9f, 0xa2, 3, 4, 1, 2, 0xff]),
            (&[0xa2, 5, 0xc1, 0xa2, 1, 2, 3, 4, 6, 7], &[0xa2, 6, 7, 5, 0xc1, 0xa2, 3, 4, 1, 2]),
        ];
        for (left, right) in same {
            assert!(is_same(left, right) && is_same(right, left), "{left:02x?} {right:02x?}");
        }
        let other: [(&[u8], &[u8]); 7] = [
            (&[0x82, 1, 2], &[0x82, 2, 1]),
            (&[0x9f, 1, 2, 0xff], &[0x9f, 2, 1, 0xff]),
            (&[0xa2, 1, 2, 3, 4], &[0xa2, 1, 4, 3, 2]),
            (&[0xa2, 1, 2, 3, 4], &[0xa2, 2, 1, 3, 4]),
            (&[0xa2, 1, 2, 1, 3], &[0xa2, 1, 3, 1, 2]),
            (&[0x42, 1, 2], &[0x42, 2, 1]),
            (&[0x62, b'a', b'b'], &[0x62, b'b', b'a']),
        ];
        for (left, right) in other {
            assert!(!is_same(left, right) && !is_same(right, left), "{left:02x?} {right:02x?}");
        }
    }

    #[test]
    fn a_head_has_the_length_that_it_is_written_with() {
        let edges = [24, 0x100, 0x1_0000, 0x1_0000_0000].map(|edge: u64| [edge - 1, edge]);
        for number in edges.into_iter().flatten().chain([0, u64::MAX]) {
            let mut written = Vec::new();
            push_head(&mut written, Header::Positive(number));
            assert_eq!(head_len(number), written.len(), "{number:#x}");
            assert!(written.len() <= MAX_HEAD);
        }
    }

    #[test]
    fn a_head_is_written_as_the_library_writes_it() {
        let edges = [24, 0x100, 0x1_0000, 0x1_0000_0000].map(|edge: u64| [edge - 1, edge]);
        for number in edges.into_iter().flatten().chain([0, u64::MAX]) {
            let length = usize::try_from(number).ok();
            let sized = [Header::Bytes(length), Header::Text(length), Header::Map(length), Header::Array(length)];
            for header in sized.into_iter().chain([Header::Positive(number), Header::Negative(number)]) {
                let (mut ours, mut the_library_s) = (Vec::new(), Vec::new());
                push_head(&mut ours, header);
                push_uncommon_head(&mut the_library_s, header);
                assert_eq!(ours, the_library_s, "{header:?}");
            }
        }
    }
}
