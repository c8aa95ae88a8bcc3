//! Changes to a data map, beside the same changes to a plain map.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::{DataMap, encode};

#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Insert(&'a str, Plain<'a>),
    /// Bytes that may or may not be one CBOR item.
    InsertEncoded(&'a str, &'a [u8]),
    Remove(&'a str),
    /// To its bytes and back.
    Reread,
}

#[derive(Arbitrary, Debug, Clone, PartialEq)]
enum Plain<'a> {
    Number(i64),
    Text(&'a str),
    Flags(Vec<bool>),
}

impl Plain<'_> {
    fn encoded(&self) -> Option<Vec<u8>> {
        let encoded = match self {
            Self::Number(number) => encode(number),
            Self::Text(text) => encode(text),
            Self::Flags(flags) => encode(flags),
        };
        encoded.ok().map(|bytes| bytes.to_vec())
    }
}

fuzz_target!(|changes: Vec<Change<'_>>| {
    let mut map = DataMap::new();
    let mut model: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for change in changes {
        match change {
            Change::Insert(key, value) => {
                let Some(value) = value.encoded() else { continue };
                insert(&mut map, &mut model, key, &value);
            }
            Change::InsertEncoded(key, value) => insert(&mut map, &mut model, key, value),
            Change::Remove(key) => assert_eq!(map.remove(key), model.remove(key).is_some()),
            Change::Reread => map = DataMap::from_cbor(&map.to_cbor()).expect("its own bytes"),
        }
        assert_eq!(map.len(), model.len());
        assert!(map.iter().eq(model.iter().map(|(key, value)| (*key, value.as_slice()))), "not the same as the model");
    }
});

fn insert<'a>(map: &mut DataMap, model: &mut BTreeMap<&'a str, Vec<u8>>, key: &'a str, value: &[u8]) {
    let before = map.clone();
    match map.insert_encoded(key, value) {
        Ok(changed) => {
            let old = model.insert(key, value.to_vec());
            assert_eq!(changed, old.as_deref() != Some(value));
        }
        Err(_) => assert!(*map == before, "a refused value changed the map"),
    }
}
