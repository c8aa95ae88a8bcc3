//! The cases of `data.json`.

use crate::support::hex;
use crate::support::vectors::DataCase;

/// A case's name, the map as hexadecimal text, and what a reader finds in it.
type Case<'v> = (&'static str, String, Vec<(String, &'v str)>);

pub(super) fn cases() -> Vec<DataCase> {
    let deep = |levels: usize| format!("a26161{}01616202", "81".repeat(levels));
    let nested = format!("{}01", "81".repeat(31));
    let long = format!("a2790101{}01616202", "6b".repeat(257));
    let cases: Vec<Case<'_>> = vec![
        ("no entry", "a0".into(), vec![]),
        ("keys that descend", "a2616201616102".into(), vec![("b".into(), "01"), ("a".into(), "02")]),
        ("a key twice in a row: the first counts", "a2616101616102".into(), vec![("a".into(), "01")]),
        (
            "a key twice, apart: the first counts",
            "a3616201616102616203".into(),
            vec![("b".into(), "01"), ("a".into(), "02")],
        ),
        ("a key of 257 bytes", long, vec![("k".repeat(257), "01"), ("b".into(), "02")]),
        ("a value nested 32 deep", deep(31), vec![("a".into(), &nested), ("b".into(), "02")]),
        ("a value nested 33 deep, and nothing is found from there on", deep(32), vec![]),
        ("a byte after the end", "a161610100".into(), vec![("a".into(), "01")]),
        ("a key that is a number", "a261610101616202".into(), vec![("a".into(), "01")]),
        ("a key in chunks", "a26161017f6162ff02".into(), vec![("a".into(), "01")]),
        ("a key that is no UTF-8", "a261610161ff02".into(), vec![("a".into(), "01")]),
        ("a value cut off", "a261610161621901".into(), vec![("a".into(), "01")]),
        ("a value that is a lone break", "a26161016162ff".into(), vec![("a".into(), "01")]),
        ("a value with a reserved head", "a261610161621c".into(), vec![("a".into(), "01")]),
        ("fewer entries than are counted", "a3616101616202".into(), vec![("a".into(), "01"), ("b".into(), "02")]),
    ];
    cases
        .into_iter()
        .map(|(name, data_cbor, entries)| DataCase {
            name: name.to_owned(),
            data_cbor: hex::encode(&hex::decode(&data_cbor)),
            entries: entries.into_iter().map(|(key, value)| (key, value.to_owned())).collect(),
        })
        .collect()
}
