//! The error of the codec: where in a value, and why. It never quotes the value, which may be a secret.

use core::any::type_name;
use core::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};
use serde::ser;

/// An error in a value, with the fields and positions that lead to it.
#[derive(Debug)]
pub(crate) struct CodecError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    /// The way from the outside in, in reverse.
    path: Vec<Step>,
    reason: String,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Field(&'static str),
    Item(usize),
    /// An entry of a map whose keys are data, and so are not named.
    Entry(usize),
}

impl CodecError {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self(Box::new(Inner { path: Vec::new(), reason: reason.into() }))
    }

    pub(super) fn malformed() -> Self {
        Self::because("the stored bytes are not well-formed CBOR")
    }

    pub(super) fn wide_integer() -> Self {
        Self::because(
            "serde cannot read a u128 or i128 back from a type with `#[serde(flatten)]`; keep it as a text, or as two u64",
        )
    }

    pub(super) fn inside(self, field: &'static str) -> Self {
        self.at(Step::Field(field))
    }

    pub(super) fn at(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    /// Returns the fields and positions that lead to the error, as in Rust: `items[2].price`. Empty for the whole value.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            let joint = if path.is_empty() || !matches!(step, Step::Field(_)) { "" } else { "." };
            path.push_str(joint);
            path.push_str(&match step {
                Step::Field(name) => (*name).to_owned(),
                Step::Item(index) => format!("[{index}]"),
                Step::Entry(index) => format!("[entry {index}]"),
            });
        }
        path
    }

    pub(crate) fn reason(&self) -> &str {
        &self.0.reason
    }
}

impl Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path() {
            "" => f.write_str(self.reason()),
            path => write!(f, "{path}: {}", self.reason()),
        }
    }
}

impl core::error::Error for CodecError {}

impl ser::Error for CodecError {
    /// Keeps the message: it is of the type's own code, about a value that its author is about to store.
    fn custom<T: Display>(message: T) -> Self {
        Self::because(message.to_string())
    }
}

/// The beginnings and ends of serde's own messages, which hold no part of a value.
const BEGINNINGS: [&str; 4] =
    ["data did not match any variant of untagged enum ", "no variant of enum ", "can only flatten ", "overflow "];
const ENDS: [&str; 2] = ["128 is not supported", "map is missing an entry"];

impl de::Error for CodecError {
    /// Keeps a message of serde's own. Any other may quote the value, so the type of the message stands for it.
    fn custom<T: Display>(message: T) -> Self {
        if type_name::<T>() == type_name::<&str>() {
            let text = message.to_string();
            if ENDS.iter().any(|end| text.ends_with(end)) {
                return Self::because(format!("{text} by serde in an untagged, tagged or flattened type"));
            }
            if BEGINNINGS.iter().any(|beginning| text.starts_with(beginning)) {
                return Self::because(text);
            }
            return Self::because("the type's own check refuses the value");
        }
        Self::because(format!("the type's own check refuses the value ({})", type_name::<T>()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::because(format!("invalid type: {}, expected {expected}", kind_of(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::because(format!("invalid value: {}, expected {expected}", kind_of(unexpected)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::because(format!("invalid length {length}, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::because(format!("unknown variant, expected {}", one_of(expected)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::because(format!("unknown field, expected {}", one_of(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::because(format!("missing field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::because(format!("duplicate field `{field}`"))
    }
}

fn one_of(names: &'static [&'static str]) -> String {
    match names {
        [] => "none at all".to_owned(),
        names => format!("one of `{}`", names.join("`, `")),
    }
}

/// Returns the kind of what was found, without its value.
fn kind_of(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "integer",
        Unexpected::Float(_) => "floating point",
        Unexpected::Char(_) => "character",
        Unexpected::Str(_) => "string",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Unit => "unit value",
        Unexpected::Option => "optional value",
        Unexpected::NewtypeStruct => "newtype struct",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        Unexpected::Enum => "enum",
        Unexpected::UnitVariant => "unit variant",
        Unexpected::NewtypeVariant => "newtype variant",
        Unexpected::TupleVariant => "tuple variant",
        Unexpected::StructVariant => "struct variant",
        Unexpected::Other(_) => "another value",
    }
}
