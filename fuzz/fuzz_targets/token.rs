//! A cookie's value: exactly one spelling for each token, and no token out of bounds.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::format::{MAX_TOKEN, MIN_TOKEN, VERSION};
use secure_sessions_core::{Refusal, Token};

fuzz_target!(|value: &[u8]| {
    let decoded = Token::decode(value);

    // The base64 crate refuses padding, other alphabets and trailing bits too.
    let expected = URL_SAFE_NO_PAD
        .decode(value)
        .ok()
        .filter(|bytes| (MIN_TOKEN..=MAX_TOKEN).contains(&bytes.len()) && bytes[0] == VERSION);
    assert_eq!(decoded.as_ref().ok().map(Token::as_bytes), expected.as_deref(), "another verdict than base64's");

    let Ok(token) = decoded else { return };
    assert_eq!(token.encode().as_bytes(), value, "two spellings of one token");
    assert!(Token::from_bytes(token.as_bytes().to_vec()) == Ok(token.clone()));
    // Nobody finds 16 bytes of HMAC or Poly1305 by chance, so a token that was not sealed here never opens.
    let refusal = secure_sessions_fuzz::sealer().open(token).expect_err("nobody sealed this");
    assert!(matches!(refusal, Refusal::UnknownKey { .. } | Refusal::NotAuthentic), "{refusal}");
});
