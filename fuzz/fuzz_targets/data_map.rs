//! Bytes as a data map: what is accepted is one map without duplicates, which another reader reads the same.

#![no_main]

use std::collections::BTreeSet;

use ciborium::Value;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::{DataMap, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    let Ok(map) = DataMap::from_cbor(bytes) else { return };
    let keys: Vec<&str> = map.keys().collect();
    assert_eq!(keys.len(), map.len());
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), map.len(), "a key stands twice");

    let written = map.to_cbor();
    assert_eq!(written.len(), map.encoded_len());
    assert!(written.len() <= bytes.len(), "writing made it longer");
    let again = DataMap::from_cbor(&written).expect("its own bytes");
    assert!(again == map);
    assert_eq!(*again.to_cbor(), *written, "writing is not canonical");

    let mut changed = map.clone();
    for (key, value) in map.iter() {
        assert!(map.contains_key(key) && map.get_encoded(key) == Some(value));
        assert!(!changed.insert_encoded(key, value).expect("it was accepted before"), "an equal value changes nothing");
        // A value that can be decoded can be encoded, and decoded to the same. (NaN is not equal to itself.)
        if let Ok(decoded) = decode::<Value>(value)
            && let Ok(encoded) = encode(&decoded)
        {
            let again = decode::<Value>(&encoded).expect("what `encode` wrote");
            assert_eq!(format!("{again:?}"), format!("{decoded:?}"));
        }
    }
    assert!(changed == map);
    for key in &keys {
        assert!(changed.remove(key) && !changed.remove(key));
    }
    assert!(changed.is_empty() && *changed.to_cbor() == [0xa0]);
});
