//! Sealing: the contents that it takes or refuses, and the lengths that come out.

use secure_sessions_core::{
    Content, DataMap, FIRST_GENERATION, HandoffKey, Meta, MetaError, RandomError, SealError, Sealer, SessionId,
    SizeClasses, Sizes, Token, encode, format,
};

use crate::support::fixtures::{CONTEXT, FINGERPRINT, LIFETIME, SEAL, START, meta_of, ring, sealer};
use crate::support::random::{Replay, Stream};
use crate::support::raw;

struct Made<'a> {
    sealer: &'a Sealer,
    meta: Meta,
    data: DataMap,
}

impl Made<'_> {
    fn seal(&self, random: &mut Stream) -> Result<Token, SealError> {
        let handoff_key = HandoffKey::random(random).expect("random");
        self.sealer.seal(&self.content(&handoff_key), random).map(|issued| issued.token)
    }

    fn content<'a>(&'a self, handoff_key: &'a HandoffKey) -> Content<'a> {
        Content {
            session_id: SessionId::from_bytes([7; 16]),
            handoff_key,
            generation: FIRST_GENERATION,
            issued_at: START,
            expires_at: START.after(LIFETIME),
            meta: &self.meta,
            data: &self.data,
        }
    }
}

fn data_of(length: usize) -> DataMap {
    let mut data = DataMap::new();
    data.insert_encoded("k", &encode(&"x".repeat(length)).expect("a text")).expect("fits");
    data
}

#[test]
fn equal_content_never_makes_equal_tokens_and_each_token_has_fresh_bloat() {
    let sealer = sealer();
    let made = Made { sealer: &sealer, meta: Meta::default(), data: data_of(3) };
    let mut random = Stream::new("twice");
    let tokens = [(); 2].map(|()| made.seal(&mut random).expect("fits"));
    let plain = tokens.each_ref().map(|token| raw::read(&SEAL, CONTEXT, token.as_bytes()).expect("opens"));
    assert_ne!(tokens[0].as_bytes()[9..33], tokens[1].as_bytes()[9..33], "nonces");
    assert_ne!(plain[0].bloat, plain[1].bloat);
    assert!(plain[0].bloat.len() >= format::MIN_BLOAT);
}

/// Counts the calls to the source of randomness.
struct Counted<'a>(Replay<'a>, usize);

impl rand_core::TryRng for Counted<'_> {
    type Error = crate::support::random::Spent;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.1 += 1;
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.1 += 1;
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Self::Error> {
        self.1 += 1;
        self.0.try_fill_bytes(output)
    }
}

impl rand_core::TryCryptoRng for Counted<'_> {}

#[test]
fn a_token_of_any_length_draws_a_nonce_and_the_seed_of_its_bloat_at_once() {
    let sealer = sealer();
    let random: Vec<u8> = (1..=56).collect();
    assert_eq!(random.len(), format::SEAL_RANDOM_LEN);
    for length in [0, 3, 150, 400, 1500] {
        let made = Made { sealer: &sealer, meta: meta_of(Some("alice")), data: data_of(length) };
        let handoff_key = HandoffKey::random(&mut Stream::new("length")).expect("random");
        let mut source = Counted(Replay(&random), 0);
        let issued = sealer.seal(&made.content(&handoff_key), &mut source).expect("enough");
        assert_eq!((source.0.0.len(), source.1), (0, 1), "{length}");
        let token = issued.token.as_bytes();
        assert_eq!(token[9..33], random[..24], "{length}");
        let seed: [u8; 32] = random[24..].try_into().expect("32 bytes");
        let plain = raw::read(&SEAL, CONTEXT, token).expect("opens");
        assert_eq!(plain.bloat, raw::bloat(&seed, plain.bloat.len()), "{length}");
        assert!(plain.bloat.len() >= format::MIN_BLOAT);
    }
}

#[test]
fn without_randomness_nothing_is_sealed() {
    let sealer = sealer();
    let made = Made { sealer: &sealer, meta: Meta::default(), data: data_of(3) };
    let handoff_key = HandoffKey::random(&mut Stream::new("a key")).expect("random");
    for available in [0, 23, 24, 55] {
        let sealed = sealer.seal(&made.content(&handoff_key), &mut Replay(&vec![1; available]));
        assert!(matches!(sealed, Err(SealError::Random(RandomError))), "{available} bytes");
    }
}

#[test]
fn the_predicted_size_is_the_cookie_s_size_even_if_it_does_not_fit() {
    let sealer = sealer();
    let (name, meta, mut random) = (CONTEXT.len(), meta_of(Some("alice")), Stream::new("sizes"));
    let foretold = |length, more| sealer.cookie_size_with(&meta, &data_of(length), more);
    for length in [0, 1, 100, 101, 1500] {
        let made = Made { sealer: &sealer, meta: meta.clone(), data: data_of(length) };
        let token = made.seal(&mut random).expect("fits");
        assert_eq!(foretold(length, 0), name + token.encode().len(), "{length} characters");
    }
    for more in [300, 2000] {
        assert_eq!(foretold(1000, more), foretold(1000 + more, 0), "{more} bytes more");
    }
    let made = Made { sealer: &sealer, meta: meta.clone(), data: data_of(3000) };
    let Err(SealError::TooLarge { size, .. }) = made.seal(&mut random) else { panic!("too large") };
    assert_eq!(foretold(3000, 0), size);
}

#[test]
fn the_largest_data_is_sealed_and_one_byte_more_names_size_and_limit() {
    for (limit, classes) in [
        (4000, SizeClasses::default()),
        (4096, SizeClasses::Fixed),
        (1234, SizeClasses::List(vec![400])),
        (format::BROWSER_LIMIT, SizeClasses::Step(1)),
    ] {
        let sizes = Sizes::new(CONTEXT.len(), limit, classes).expect("sizes");
        let largest = sizes.max_plaintext() - format::PLAINTEXT_FIXED - 1 - 6 - format::MIN_BLOAT;
        let sealer = Sealer::new(ring(&[SEAL], &[FINGERPRINT]), CONTEXT, sizes).expect("a context");
        let mut random = Stream::new("sizes");

        let made = Made { sealer: &sealer, meta: Meta::default(), data: data_of(largest) };
        let token = made.seal(&mut random).expect("just fits");
        assert!(CONTEXT.len() + token.encode().len() <= limit);
        assert_eq!(sealer.check_size(&made.meta, &made.data), Ok(()));

        let made = Made { sealer: &sealer, meta: Meta::default(), data: data_of(largest + 1) };
        let error = made.seal(&mut random).expect_err("one byte too many");
        let SealError::TooLarge { size, limit: named } = error else { panic!("{error:?}") };
        assert!(size > limit && size <= limit + 2 && named == limit, "{error}");
        assert_eq!(sealer.check_size(&made.meta, &made.data), Err(error));
        assert!(error.to_string().contains(&size.to_string()) && error.to_string().contains(&limit.to_string()));
    }
}

#[test]
fn the_shortest_token_is_of_an_empty_session_with_the_least_bloat() {
    let sizes = Sizes::new(CONTEXT.len(), format::DEFAULT_LIMIT, SizeClasses::Step(1)).expect("sizes");
    let sealer = Sealer::new(ring(&[SEAL], &[FINGERPRINT]), CONTEXT, sizes).expect("a context");
    let made = Made { sealer: &sealer, meta: Meta::default(), data: DataMap::new() };
    let token = made.seal(&mut Stream::new("a short one")).expect("fits");
    let plain = raw::read(&SEAL, CONTEXT, token.as_bytes()).expect("opens");
    assert_eq!(plain.to_bytes().len(), format::MIN_PLAINTEXT);
    assert_eq!((token.as_bytes().len(), plain.bloat.len()), (format::MIN_TOKEN, format::MIN_BLOAT));
}

#[test]
fn a_name_without_characters_leaves_no_more_room_than_the_longest_token() {
    let sizes = Sizes::new(0, format::BROWSER_LIMIT, SizeClasses::Fixed).expect("sizes");
    let sealer = Sealer::new(ring(&[SEAL], &[FINGERPRINT]), CONTEXT, sizes).expect("a context");
    let made = Made { sealer: &sealer, meta: Meta::default(), data: DataMap::new() };
    let token = made.seal(&mut Stream::new("a long one")).expect("fits");
    assert!(token.as_bytes().len() <= format::MAX_TOKEN);
    assert!(sealer.open(Token::decode(token.encode().as_bytes()).expect("decodes")).is_ok());
}

#[test]
fn the_length_of_a_token_tells_its_class_and_no_more() {
    let sealer = sealer();
    let mut random = Stream::new("classes");
    let lengths: Vec<usize> = (0..600)
        .map(|length| {
            let made = Made { sealer: &sealer, meta: Meta::default(), data: data_of(length) };
            made.seal(&mut random).expect("fits").as_bytes().len() - format::TOKEN_OVERHEAD
        })
        .collect();
    assert!(lengths.iter().all(|length| length % 128 == 0));
    assert!(lengths.windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!(lengths.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
}

#[test]
fn a_meta_entry_that_the_reader_would_refuse_is_not_sealed() {
    let sealer = sealer();
    let mut flash = Meta::default();
    let refused = |meta: Meta| {
        let made = Made { sealer: &sealer, meta, data: DataMap::new() };
        assert!(sealer.check_size(&made.meta, &made.data).is_err());
        made.seal(&mut Stream::new("refused")).expect_err("unreadable")
    };
    for malformed in [&[][..], &[0x81], &[0x01, 0x01], &[0xff], &[0x61, 0xff], &[[0x81; 32].as_slice(), &[1]].concat()]
    {
        flash.flash = Some(malformed.to_vec());
        assert_eq!(refused(flash.clone()), SealError::Meta(MetaError::Malformed), "{malformed:02x?}");
    }
    let long = meta_of(Some(&"x".repeat(513)));
    assert_eq!(refused(long), SealError::Meta(MetaError::SubjectTooLong { length: 513 }));
}

#[test]
fn a_context_is_never_empty_nor_longer_than_its_bound() {
    for (context, fits) in [("", false), ("x", true), (&"x".repeat(256), true), (&"x".repeat(257), false)] {
        let sizes = Sizes::default_for(context.len()).expect("room enough");
        let sealer = Sealer::new(ring(&[SEAL], &[FINGERPRINT]), context, sizes);
        assert_eq!(sealer.is_ok(), fits, "{} bytes", context.len());
        if let Ok(sealer) = sealer {
            let made = Made { sealer: &sealer, meta: Meta::default(), data: data_of(3) };
            let token = made.seal(&mut Stream::new("context")).expect("fits");
            assert!(sealer.open(token).is_ok());
        }
    }
}
