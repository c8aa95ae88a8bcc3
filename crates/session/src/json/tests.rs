#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no NaN", |float| float.is_finite()).prop_map(Value::from),
        any::<f32>()
            .prop_filter("JSON has no NaN", |float| float.is_finite())
            .prop_map(|float| json!(f64::from(float))),
        (-300_i16..300).prop_map(|number| json!(f64::from(number) / 4.0)),
    ];
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        4 => number,
        1 => "\\PC{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..10).prop_map(Value::Array),
            prop::collection::hash_map("\\PC{0,8}", inner, 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_json_value_comes_back_as_it_was_stored(value in any_value()) {
        prop_assert_eq!(super::value(&encode(&Stored(&value))), Some(value));
    }

    #[test]
    fn bytes_of_any_kind_are_read_as_the_library_reads_them_or_left_out(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(value) = super::value(&bytes) {
            let read: Result<Value, _> = ciborium::from_reader(bytes.as_slice());
            prop_assert_eq!(Some(value), read.ok());
        }
    }
}

#[test]
fn a_value_that_json_cannot_hold_is_left_out() {
    let bytes = ciborium::Value::Bytes(vec![1, 2]);
    let keyed_by_number = ciborium::Value::Map(vec![(1.into(), 2.into())]);
    for value in [bytes, keyed_by_number, f64::NAN.into(), ciborium::Value::from(u128::MAX)] {
        assert_eq!(super::value(&encode(&value)), None, "{value:?}");
        assert_eq!(super::value(&encode(&[&value])), None, "in a list: {value:?}");
    }
    let mut map = DataMap::new();
    map.insert_encoded("bytes", &[0x41, 0x00]).unwrap();
    map.insert_encoded("n", &[0x07]).unwrap();
    assert_eq!(values(&map), HashMap::from([("n".to_owned(), json!(7))]));
    map.remove("bytes");
    map.insert_encoded("text", &[0x61, b'a']).unwrap();
    assert_eq!(values(&map), HashMap::from([("n".to_owned(), json!(7)), ("text".to_owned(), json!("a"))]));
    assert_eq!(values(&DataMap::new()), HashMap::new());
}

#[test]
fn a_flattened_struct_of_no_said_length_is_an_object() {
    let bytes = [0xbf, 0x61, b'a', 0x9f, 0x01, 0x20, 0xff, 0x61, b'b', 0xf9, 0x3e, 0x00, 0xff];
    assert_eq!(super::value(&bytes), Some(json!({"a": [1, -1], "b": 1.5})));
    assert_eq!(super::value(&bytes[..bytes.len() - 1]), None, "its end is missing");
}

#[test]
fn halves_are_read_by_their_parts() {
    for (bits, value) in [
        (0x0001, 2_f64.powi(-24)),
        (0x03ff, 1023.0 * 2_f64.powi(-24)),
        (0x0400, 2_f64.powi(-14)),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
    ] {
        assert_eq!(half(bits).to_bits(), value.to_bits(), "{bits:#x}");
    }
    assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| [vec![0x81; levels], vec![0x00]].concat();
    assert!(super::value(&nested(MAX_DEPTH - 1)).is_some());
    assert_eq!(super::value(&nested(MAX_DEPTH)), None);
}

#[test]
fn a_list_is_read_in_its_order_whatever_it_mixes() {
    let long: Vec<u64> = (0..100).map(|n| n * 700).collect();
    let mixed = json!([[], [1, 2, -3, 4, "a", 5, null, [6, 7], {"b": 8}, 9.5, 10], long, [u64::MAX, i64::MIN]]);
    assert_eq!(super::value(&encode(&Stored(&mixed))), Some(mixed));
    let short = [0x98, 33, 0x01];
    assert_eq!(super::value(&short), None, "32 of its numbers are missing");
}
