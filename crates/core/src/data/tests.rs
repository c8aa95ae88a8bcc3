use std::collections::BTreeMap;

use ciborium::Value;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

fn map_of(entries: &[(&str, &[u8])]) -> DataMap {
    let mut map = DataMap::new();
    for (key, value) in entries {
        map.insert_encoded(key, value).expect("a well-formed item");
    }
    map
}

#[test]
fn an_equal_hash_map_changes_nothing_and_one_that_differs_is_kept() {
    use std::collections::HashMap;

    type Basket = HashMap<String, HashMap<u32, Vec<u8>>>;
    // Each has a hasher, and so an order, of its own.
    let basket = |changed: u8| -> Basket {
        let inner = |n: u32| (0..9).map(|m| (m * 99, vec![u8::try_from(n % 7).expect("small"), changed])).collect();
        (0..9).map(|n| (format!("article {n}"), inner(n))).collect()
    };
    let mut map = map_of(&[("b", &encode(&basket(0)).expect("encodes"))]);
    for _ in 0..20 {
        assert!(!map.insert_encoded("b", &encode(&basket(0)).expect("encodes")).expect("fits"), "an equal map");
    }
    let mut other = basket(0);
    other.get_mut("article 3").and_then(|inner| inner.get_mut(&99)).expect("it is there").swap(0, 1);
    assert!(map.insert_encoded("b", &encode(&other).expect("encodes")).expect("fits"), "the same bytes in sum");
    assert_eq!(map.get::<Basket>("b").expect("of the type"), Some(other));
}

#[test]
fn values_round_trip() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Nested {
        text: String,
        numbers: Vec<i64>,
        bytes: Vec<u8>,
        map: BTreeMap<String, Option<f64>>,
        big: (u64, i64, u128),
    }
    let value = Nested {
        text: "Grüße \u{1F512} \0".repeat(20),
        numbers: vec![i64::MIN, -1, 0, i64::MAX],
        bytes: (0..=255).collect(),
        map: [("a".to_owned(), Some(0.1)), ("b".to_owned(), None)].into(),
        big: (u64::MAX, i64::MIN, u128::MAX),
    };
    let mut map = DataMap::new();
    assert!(map.insert_encoded("nested", &encode(&value).expect("encodes")).expect("fits"));
    let read = DataMap::from_cbor(&map.to_cbor()).expect("its own encoding");
    assert_eq!(read.get::<Nested>("nested").expect("the same type"), Some(value));
    assert_eq!(read.get::<u64>("other").expect("absent is no error"), None);
}

#[test]
fn a_map_says_what_is_in_it_and_an_equal_value_changes_nothing() {
    let mut map = DataMap::new();
    assert!(map.is_empty() && !map.contains_key("a"));
    assert!(map.insert_encoded("a", &[0x01]).expect("a number"));
    assert!(!map.is_empty() && map.contains_key("a") && !map.contains_key("b"));
    assert!(!map.insert_encoded("a", &[0x01]).expect("the same number"), "equal bytes");
    assert!(map.insert_encoded("a", &[0x02]).expect("another number"));
    assert_eq!((map.len(), map.get_encoded("a")), (1, Some(&[0x02][..])));
    assert!(map == map_of(&[("a", &[0x02])]));
    for other in [map_of(&[("a", &[0x01])]), map_of(&[("a", &[0x02]), ("b", &[0x02])]), DataMap::new()] {
        assert!(map != other);
    }
}

#[test]
fn keys_of_a_foreign_map_are_found_in_whatever_order_they_stand() {
    let keys: Vec<String> = (0..20_u8).rev().map(|number| format!("{number:02}")).collect();
    let mut encoded = vec![0xb4];
    for key in &keys {
        encoded.extend_from_slice(&[0x62, key.as_bytes()[0], key.as_bytes()[1], 0x01]);
    }
    let map = DataMap::from_cbor(&encoded).expect("a map");
    assert!(map.keys().eq(&keys) && keys.iter().all(|key| map.contains_key(key)) && !map.contains_key("20"));
}

#[test]
fn keys_that_we_write_ascend() {
    let map = map_of(&[("b", &[0x01]), ("d", &[0x02]), ("a", &[0x03]), ("c", &[0x04])]);
    assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[test]
fn room_for_an_entry_is_there_before_it_is_written_so_that_nothing_moves() {
    let value = [0x58, 0x64].into_iter().chain([7; 100]).collect::<Vec<u8>>();
    for key in ["", "k", "a longer key"] {
        let mut map = map_of(&[(key, &value)]);
        let (room, written) = (map.buffer.as_mut_vec().capacity(), map.items().len());
        // Vec doubles its room when it grows.
        assert!((written..written + cbor::MAX_HEAD).contains(&room), "{room} bytes for {written}");
    }
}

#[test]
fn the_wrong_type_is_an_error_that_does_not_quote_the_value() {
    let map = map_of(&[("k", &encode("secret").expect("encodes"))]);
    let error = map.get::<u64>("k").expect_err("a text is no number").to_string();
    assert!(error.contains("u64") && !error.contains("secret"), "{error}");
    assert_eq!(map.get::<String>("k").expect("still there").as_deref(), Some("secret"));
}

#[test]
fn a_value_is_all_of_its_bytes_and_the_names_in_it_may_be_long() {
    assert!(decode::<u8>(&[0x01]).is_ok());
    assert!(decode::<u8>(&[0x01, 0x01]).is_err(), "a byte too many");
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Named {
        #[serde(rename = "a name of more than sixty-four characters, which is what fits the smaller buffer")]
        field: u8,
    }
    let bytes = encode(&Named { field: 1 }).expect("encodes");
    assert_eq!(decode::<Named>(&bytes).expect("the same type"), Named { field: 1 });
}

#[test]
fn what_is_too_large_is_counted_and_not_kept() {
    let (small, limit) = (SecretArray([0; Bounded::SMALL]), MAX_TOKEN);
    let mut writer = Bounded { small, large: None, length: 0, limit };
    for _ in 0..5 {
        std::io::Write::write_all(&mut writer, &[7; 1000]).expect("it never fails");
    }
    assert!(matches!(writer.bytes(), Err(DataError::ValueTooLarge { length: 5000 })));
    let kept = writer.large.as_mut().map(SecretBytes::as_mut_vec).expect("more than the smaller buffer holds");
    assert_eq!(kept, &[7; 3000], "and the fourth does not fit");
}

#[test]
fn a_flattened_struct_is_kept_though_its_map_is_indefinite() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Outer {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let value = Outer { a: 1, rest: [("b".to_owned(), 2)].into() };
    let bytes = encode(&value).expect("encodes");
    assert_eq!(bytes[0], 0xbf, "an indefinite map");
    let map = map_of(&[("outer", &bytes)]);
    let read = DataMap::from_cbor(&map.to_cbor()).expect("its own encoding");
    assert_eq!(read.get::<Outer>("outer").expect("the same type"), Some(value));
}

#[test]
fn what_the_reader_would_refuse_insert_refuses() {
    let mut deep = Value::Null;
    for _ in 0..crate::format::MAX_DEPTH {
        deep = Value::Array(vec![deep]);
    }
    assert!(matches!(encode(&deep), Err(DataError::Value(CborError::TooDeep))));
    assert!(matches!(encode(&vec![0_u64; 4096]), Err(DataError::ValueTooLarge { length: 4099 })));

    let mut map = map_of(&[("k", &[0x01])]);
    let before = map.clone();
    for bad in [&[][..], &[0x01, 0x01], &[0x61], &[0xff], &[0x5f, 0x01, 0xff], &[0xbf, 0x01, 0xff], &[0x62, 0xff, 0xff]]
    {
        assert!(map.insert_encoded("k", bad).is_err(), "{bad:02x?}");
    }
    assert!(matches!(map.insert_encoded(&"k".repeat(257), &[0x01]), Err(DataError::KeyTooLong { length: 257 })));
    assert_eq!(map, before);

    let (longest_key, longest_value) = ("k".repeat(256), [&[0x59, 0x0b, 0xfc][..], &[0; 3068]].concat());
    assert_eq!(longest_value.len(), MAX_TOKEN);
    assert!(map.insert_encoded(&longest_key, &longest_value).expect("both just fit"));
    let longer = [&[0x59, 0x0b, 0xfd][..], &[0; 3069]].concat();
    assert!(matches!(map.insert_encoded("k", &longer), Err(DataError::ValueTooLarge { length: 3072 })));
}

#[test]
fn foreign_maps_are_refused_unless_well_formed() {
    let cases: &[(&[u8], &str)] = &[
        (&[], "empty"),
        (&[0xa0, 0x00], "a trailing byte"),
        (&[0xa1, 0x61, b'a'], "a key without a value"),
        (&[0xa1, 0x01, 0x01], "a key that is no text"),
        (&[0xbf, 0xff], "an indefinite map"),
        (&[0x80], "an array"),
        (&[0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x02], "a key twice in a row"),
        (&[0xa3, 0x61, b'b', 0x01, 0x61, b'a', 0x02, 0x61, b'b', 0x03], "a key twice, apart"),
        (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "a count of 2^64 - 1"),
        (&[0xa1, 0x61, b'a', 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "a long array of nothing"),
    ];
    for (bytes, what) in cases {
        assert!(DataMap::from_cbor(bytes).is_err(), "{what}");
    }
    let unordered = DataMap::from_cbor(&[0xa2, 0x61, b'b', 0x01, 0x61, b'a', 0x02]).expect("another order");
    assert_eq!(unordered.keys().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(unordered.get::<u8>("a").expect("a number"), Some(2));
}

/// As a token brings it: nothing but its head is looked at.
fn in_a_token(bytes: &[u8]) -> DataMap {
    let buffer = [&[0xff; 10][..], bytes, &[0xff; 40]].concat();
    DataMap::within(buffer.into(), 10..10 + bytes.len()).expect("a map's head")
}

#[test]
fn of_a_doubled_key_the_first_counts_and_a_change_takes_all_of_them() {
    // b, a, b, c, b; not in order.
    let bytes = [0xa5, 0x61, b'b', 0x01, 0x61, b'a', 0x02, 0x61, b'b', 0x03, 0x61, b'c', 0x04, 0x61, b'b', 0x05];
    let map = in_a_token(&bytes);
    assert_eq!((map.len(), map.is_empty()), (3, false));
    assert_eq!(map.keys().collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(map.iter().map(|(_, value)| value[0]).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(map.get::<u8>("b").expect("a number"), Some(1));
    assert_eq!(&map.to_cbor()[..], bytes, "an unchanged map is written as it came");

    for value in [[0x07], [0x01]] {
        let mut changed = in_a_token(&bytes);
        assert!(changed.insert_encoded("b", &value).expect("fits"), "the others are gone, that is a change");
        assert_eq!(changed.to_cbor()[..], [0xa3, 0x61, b'b', value[0], 0x61, b'a', 0x02, 0x61, b'c', 0x04]);
        assert!(!changed.insert_encoded("b", &value).expect("fits"));
    }
    let mut removed = in_a_token(&bytes);
    assert!(removed.remove("b") && !removed.remove("b"));
    assert_eq!(removed.to_cbor()[..], [0xa2, 0x61, b'a', 0x02, 0x61, b'c', 0x04]);
    DataMap::from_cbor(&removed.to_cbor()).expect("well-formed");
}

#[test]
fn entries_before_a_malformed_one_are_found_and_none_can_be_inserted() {
    let cases: [(&[u8], &str); 5] = [
        (&[0xa2, 0x61, b'a', 0x01, 0x61, b'b', 0x19, 0x01], "a value that is cut off"),
        (&[0xa2, 0x61, b'a', 0x01, 0x01, 0x01], "a key that is no text"),
        (&[0xa2, 0x61, b'a', 0x01, 0x62, 0xff, 0xff, 0x01], "a key that is no UTF-8"),
        (&[0xa2, 0x61, b'a', 0x01, 0x61, b'b', 0xff], "a value that is a lone break"),
        (&[0xa1, 0x61, b'a', 0x01, 0x61, b'b', 0x01], "an entry that is not counted"),
    ];
    for (bytes, what) in cases {
        let mut map = in_a_token(bytes);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["a"], "{what}");
        assert_eq!((map.get::<u8>("a").expect("a number"), map.get_encoded("b")), (Some(1), None), "{what}");
        assert!(matches!(map.insert_encoded("c", &[0x01]), Err(DataError::NotAMap)), "{what}");
        assert_eq!(&map.to_cbor()[..], bytes, "{what}");
        assert!(map.remove("a") && !map.contains_key("a"), "{what}");
        assert!(DataMap::from_cbor(bytes).is_err(), "{what}");
    }
}

#[test]
fn a_value_that_is_nested_too_deeply_never_comes_out() {
    let deep = [&[0xa2, 0x61, b'a'][..], &[0x81; 32], &[0x01, 0x61, b'b', 0x01]].concat();
    let map = in_a_token(&deep);
    assert_eq!((map.len(), map.get_encoded("a"), map.get_encoded("b")), (0, None, None));
    // One level less is what a value may have.
    let level = [&[0xa2, 0x61, b'a'][..], &[0x81; 31], &[0x01, 0x61, b'b', 0x01]].concat();
    assert_eq!(in_a_token(&level).get_encoded("b"), Some(&[0x01][..]));
}

#[test]
fn a_head_that_counts_more_than_there_can_be_is_no_map() {
    for bytes in [&[0xa2, 0x61, b'a', 0x01][..], &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0xa1]] {
        assert!(matches!(DataMap::within(bytes.to_vec().into(), 0..bytes.len()), Err(DataError::NotAMap)));
    }
}

proptest! {
    #[test]
    fn the_map_behaves_as_an_ordered_map(
        operations in prop::collection::vec(("[a-d]{0,3}", prop::option::of(any::<u32>())), 0..60)
    ) {
        let mut model = BTreeMap::new();
        let mut map = DataMap::new();
        for (key, value) in operations {
            match value {
                Some(value) => {
                    let changed = map.insert_encoded(&key, &encode(&value).unwrap()).unwrap();
                    prop_assert_eq!(changed, model.insert(key, value) != Some(value));
                }
                None => prop_assert_eq!(map.remove(&key), model.remove(&key).is_some()),
            }
            prop_assert_eq!(map.len(), model.len());
            prop_assert_eq!(map.encoded_len(), map.to_cbor().len());
        }
        let read = DataMap::from_cbor(&map.to_cbor()).unwrap();
        prop_assert!(read == map);
        let read: BTreeMap<String, u32> =
            read.iter().map(|(key, value)| (key.to_owned(), decode(value).unwrap())).collect();
        prop_assert_eq!(read, model);
    }

    #[test]
    fn no_bytes_of_a_token_panic_whatever_is_done_with_them(
        bytes in prop::collection::vec(any::<u8>(), 0..60), key in "[a-c]{0,2}", small in any::<bool>(),
    ) {
        // Mostly short texts and small numbers, so that entries are found at all.
        let bytes: Vec<u8> = match small {
            true => [0xa0 | u8::try_from(bytes.len() / 4).unwrap() & 0x0f].into_iter()
                .chain(bytes.iter().map(|byte| [0x61, b'a', b'b', 0x01, 0x60, 0x81][usize::from(*byte) % 6])).collect(),
            false => bytes,
        };
        if let Ok(mut map) = DataMap::within(bytes.clone().into(), 0..bytes.len()) {
            prop_assert_eq!(map.iter().count(), map.len());
            prop_assert_eq!(map.is_empty(), map.iter().next().is_none());
            prop_assert_eq!(map.encoded_len(), map.to_cbor().len());
            for (key, value) in map.iter() {
                prop_assert_eq!(map.get_encoded(key), Some(value));
                prop_assert!(check_value(value).is_ok());
            }
            let keys: Vec<String> = map.keys().map(str::to_owned).collect();
            let inserted = map.insert_encoded(&key, &[0x18, 0x2a]);
            prop_assert_eq!(inserted.is_ok() , map.get_encoded(&key) == Some(&[0x18, 0x2a][..]));
            for key in keys.iter().chain([&key]) {
                map.remove(key);
                prop_assert!(!map.contains_key(key));
            }
            prop_assert_eq!(map.encoded_len(), map.to_cbor().len());
        }
    }

    #[test]
    fn no_bytes_panic_and_what_is_accepted_is_read_back(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(map) = DataMap::from_cbor(&bytes) {
            prop_assert_eq!(map.iter().count(), map.len());
            let again = DataMap::from_cbor(&map.to_cbor()).unwrap();
            prop_assert!(again == map);
        }
    }
}
