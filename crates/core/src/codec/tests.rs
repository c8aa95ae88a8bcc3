use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

fn written<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    to_writer(value, &mut bytes).expect("encodes");
    bytes
}

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    assert_eq!(from_slice::<T>(&written(&value)).map_err(|error| error.to_string()).as_ref(), Ok(&value));
}

/// As `Uuid` is of the crate `uuid`: a text for people, bytes for machines.
#[derive(PartialEq, Debug, Clone, Copy)]
struct Id([u8; 4]);

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.serialize_str(&u32::from_be_bytes(self.0).to_string()),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 4]>::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        text.parse::<u32>().map(|number| Self(number.to_be_bytes())).map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Untagged {
    Address(IpAddr),
    Socket(SocketAddr),
    Ids { ids: Vec<Id> },
    Pair(u8, String),
    Nothing,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind")]
enum Tagged {
    From { address: IpAddr, id: Id },
    Unit,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Inner {
    address: IpAddr,
    id: Id,
    bytes: Vec<u8>,
    unit: (),
    none: Option<u8>,
    kind: Result<u8, String>,
    letter: char,
    half: f64,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Flattened {
    name: String,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: BTreeMap<String, IpAddr>,
}

fn inner() -> Inner {
    Inner {
        address: Ipv6Addr::LOCALHOST.into(),
        id: Id([1, 2, 3, 4]),
        bytes: vec![0, 24, 255],
        unit: (),
        none: None,
        kind: Err("no".into()),
        letter: 'ß',
        half: 0.5,
    }
}

#[test]
fn what_a_buffering_type_holds_comes_back() {
    comes_back(Untagged::Address(Ipv4Addr::LOCALHOST.into()));
    comes_back(Untagged::Socket((Ipv6Addr::LOCALHOST, 80).into()));
    comes_back(Untagged::Ids { ids: vec![Id([0, 0, 0, 9]), Id([255; 4])] });
    comes_back(Untagged::Pair(1, "x".into()));
    comes_back(Untagged::Nothing);
    comes_back(Tagged::From { address: Ipv4Addr::LOCALHOST.into(), id: Id([9; 4]) });
    comes_back(Tagged::Unit);
    let rest = [("client".to_owned(), Ipv4Addr::BROADCAST.into())].into();
    comes_back(Flattened { name: "n".into(), inner: inner(), rest });
    comes_back(vec![Some(inner()), None]);
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct ByNumber {
        #[serde(flatten)]
        rest: BTreeMap<u32, String>,
    }
    comes_back(ByNumber { rest: [(7, "seven".to_owned())].into() });
}

#[test]
fn a_wide_integer_that_serde_cannot_buffer_is_refused_when_written() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Wide {
        amount: u128,
        debt: i128,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Around {
        #[serde(flatten)]
        wide: Wide,
    }
    let wide = || Wide { amount: 1, debt: -1 };
    comes_back(wide());
    let error = to_writer(&Around { wide: wide() }, &mut Vec::new()).expect_err("unreadable").to_string();
    assert!(error.contains("u128") && error.contains("as a text"), "{error}");
    // Within an untagged type the writer does not see it. The reader's error names it.
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(tag = "kind")]
    enum Hidden {
        Wide(Wide),
    }
    let error = from_slice::<Hidden>(&written(&Hidden::Wide(wide()))).expect_err("serde cannot");
    assert!(error.reason().contains("128 is not supported by serde"), "{error}");
}

#[test]
fn an_error_names_the_field_and_the_reason_and_not_the_value() {
    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "it is never made")]
    struct Cart {
        items: Vec<Item>,
        prices: BTreeMap<String, u8>,
        plan: Plan,
    }
    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "it is never made")]
    struct Item {
        price: u32,
        address: IpAddr,
    }
    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "it is never made")]
    enum Plan {
        Free,
        Paid { until: u64 },
    }
    let item = |price: &str, address: &str| serde_json::json!({ "price": price, "address": address });
    let good = || serde_json::json!({ "price": 5, "address": "::1" });
    let cart = |item: serde_json::Value, price: serde_json::Value, plan: serde_json::Value| serde_json::json!({ "items": [good(), item], "prices": { "hunter2": price }, "plan": plan });
    let free = || serde_json::json!("Free");
    for (value, path, reason) in [
        (cart(item("hunter2", "::1"), 1.into(), free()), "items[1].price", "invalid type: string, expected u32"),
        (
            cart(serde_json::json!({ "price": 1, "address": "hunter2" }), 1.into(), free()),
            "items[1].address",
            "the type's own check refuses the value",
        ),
        (cart(serde_json::json!({ "price": 1 }), 1.into(), free()), "items[1]", "missing field `address`"),
        (cart(good(), 256.into(), free()), "prices[entry 0]", "invalid value: integer, expected u8"),
        (cart(good(), 1.into(), "hunter2".into()), "plan", "unknown variant, expected one of `Free`, `Paid`"),
        (
            cart(good(), 1.into(), serde_json::json!({ "Paid": { "until": "hunter2" } })),
            "plan.Paid.until",
            "invalid type: string, expected u64",
        ),
        ("hunter2".into(), "", "invalid type: string, expected struct Cart"),
    ] {
        let error = from_slice::<Cart>(&written(&value)).expect_err(path);
        assert_eq!(error.path(), path);
        assert!(error.reason().contains(reason), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn an_untagged_type_that_nothing_fits_says_so() {
    let error = from_slice::<Untagged>(&written(&0.5)).expect_err("no variant").to_string();
    assert_eq!(error, "data did not match any variant of untagged enum Untagged");
}

#[test]
fn numbers_at_the_edges_come_back() {
    for number in [i128::MIN, i64::MIN.into(), i128::from(i64::MIN) - 1, -1, 0, 23, 24, u64::MAX.into(), i128::MAX] {
        comes_back(number);
    }
    comes_back((u128::MAX, u64::MAX, i64::MIN, u128::from(u64::MAX) + 1));
    for float in [0.0, -0.0, 1.5, 0.1, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY] {
        comes_back(float);
    }
    assert!(from_slice::<f64>(&written(&f64::NAN)).expect("a float").is_nan());
    assert!(from_slice::<u8>(&written(&256)).is_err() && from_slice::<i8>(&written(&-129)).is_err());
    // -1 - u64::MAX: no i64, but a head of its own.
    assert_eq!(from_slice::<i128>(&[0x3b, 255, 255, 255, 255, 255, 255, 255, 255]).expect("an i128"), -(1 << 64));
}

#[test]
fn what_other_writers_may_write_is_read() {
    assert_eq!(from_slice::<String>(&[0x7f, 0x61, b'a', 0x62, b'b', b'c', 0xff]).expect("chunks"), "abc");
    assert_eq!(from_slice::<Vec<u8>>(&[0x43, 1, 2, 3]).expect("bytes as a list"), [1, 2, 3]);
    assert_eq!(from_slice::<Vec<u8>>(&[0x9f, 1, 2, 0xff]).expect("a list without a length"), [1, 2]);
    assert_eq!(from_slice::<u8>(&[0xd8, 0x2a, 7]).expect("a tagged number"), 7);
    assert_eq!(from_slice::<BTreeMap<u8, u8>>(&[0xbf, 1, 2, 0xff]).expect("a map without a length"), [(1, 2)].into());
    for bad in [&[0x83, 1, 2][..], &[0x82, 1, 2, 3], &[0x61], &[0xff], &[0x9f, 1], &[0xc2, 0x01], &[0xf8, 0x40], &[]] {
        assert!(from_slice::<Vec<u8>>(bad).is_err() && from_slice::<ciborium::Value>(bad).is_err(), "{bad:02x?}");
    }
    assert!(from_slice::<(u8, u8)>(&[0x83, 1, 2, 3]).is_err(), "an item too many");
    assert!(from_slice::<ciborium::Value>(&[&[0x81; 40][..], &[0]].concat()).is_err(), "nested too deeply");
}

/// Makes values of every kind that CBOR has.
fn any_value() -> impl Strategy<Value = ciborium::Value> {
    use ciborium::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Integer(number.into())),
        any::<u64>().prop_map(|number| Value::Integer(number.into())),
        any::<f64>().prop_filter("a NaN is not equal to itself", |float| !float.is_nan()).prop_map(Value::Float),
        ".{0,30}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..30).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 30, 6, |item| {
        prop_oneof![
            prop::collection::vec(item.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((item.clone(), item.clone()), 0..6).prop_map(Value::Map),
            (10..100_u64, item).prop_map(|(tag, item)| Value::Tag(tag, Box::new(item))),
        ]
    })
}

#[test]
fn a_value_as_json_is_what_a_json_library_reads() {
    let shown = |bytes: &[u8]| to_json(bytes).expect("a value");
    let value = serde_json::json!({ "a \"quoted\" key\n": [1, -2, 0.5, true, null, "ß\u{7}"], "b": {}, "c": [] });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&shown(&written(&value))).expect("JSON"), value);
    assert_eq!(shown(&written(&BTreeMap::from([((1, 2), u128::MAX)]))), format!(r#"{{"[1,2]":{}}}"#, u128::MAX));
    assert_eq!(shown(&[0x82, 0x42, 0x01, 0xff, 0xd8, 0x2a, 0x61, b'x']), r#"["0x01ff","x"]"#);
    assert_eq!(shown(&written(&f64::NAN)), "null");
    assert!(to_json(&[0xf8, 0x40]).is_err());
}

proptest! {
    #[test]
    fn the_bytes_are_those_that_the_library_writes_and_reads(value in any_value()) {
        let mut theirs = Vec::new();
        ciborium::into_writer(&value, &mut theirs).unwrap();
        prop_assert_eq!(&written(&value), &theirs);
        prop_assert_eq!(from_slice::<ciborium::Value>(&theirs).unwrap(), value);
    }

    #[test]
    fn no_bytes_panic_and_what_is_read_can_be_written(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = from_slice::<Flattened>(&bytes);
        let _ = from_slice::<Untagged>(&bytes);
        if let Ok(value) = from_slice::<ciborium::Value>(&bytes) {
            written(&value);
        }
    }
}
