//! A value of every type that an encoding could lose something of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Unicode, binary, nested, large and exact.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub struct Sample {
    text: String,
    empty: String,
    key_of_unicode: BTreeMap<String, char>,
    bytes: Vec<u8>,
    unsigned: [u64; 3],
    signed: [i64; 3],
    wide: (u128, i128),
    floats: Vec<f64>,
    single: f32,
    nothing: Option<u8>,
    something: Option<Option<u8>>,
    shapes: Vec<Shape>,
    nested: Vec<Vec<Vec<Vec<bool>>>>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
enum Shape {
    Point,
    Circle(u32),
    Rectangle { width: u32, height: u32 },
}

impl Sample {
    /// Always the same.
    #[must_use]
    pub fn new() -> Self {
        Self {
            text: "naïve 日本語 \u{1f980} e\u{301} \u{202e}rtl \0 \u{10ffff} \" \\ ; =".to_owned(),
            empty: String::new(),
            key_of_unicode: [("ключ".to_owned(), '\u{1f511}'), (String::new(), '\0')].into(),
            bytes: (0..=255).collect(),
            unsigned: [0, 1 << 53, u64::MAX],
            signed: [i64::MIN, -1, i64::MAX],
            wide: (u128::MAX, i128::MIN),
            floats: vec![
                0.1,
                -0.0,
                f64::MIN_POSITIVE,
                f64::MAX,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::EPSILON,
                5e-324,
            ],
            single: 16_777_216.5_f32,
            nothing: None,
            something: Some(Some(7)),
            shapes: vec![Shape::Point, Shape::Circle(3), Shape::Rectangle { width: 4, height: u32::MAX }],
            nested: vec![vec![vec![], vec![vec![true, false], vec![]]]],
        }
    }

    /// Returns `true` if nothing was lost on the way; the sign of zero included, which `==` does not see.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        let expected = Self::new();
        let bits = |sample: &Self| sample.floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>();
        *self == expected && bits(self) == bits(&expected)
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}
