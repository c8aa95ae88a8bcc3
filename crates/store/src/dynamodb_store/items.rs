//! Items: where a key's is, and what it holds.
//!
//! | key | partition key | sort key |
//! | --- | --- | --- |
//! | `PREFIX/NAME` | the key | `-` |
//! | `PREFIX/FOLDER/REST` | `PREFIX/FOLDER/` and the first digit of `REST` | `REST` |
//! | `PREFIX/FOLDER/GROUP/REST` | `PREFIX/FOLDER/GROUP` | `REST` |
//!
//! So what a walk reads is in one partition, or in sixteen whose order is that of the keys. (No walk goes over groups: the
//! lists of deadlines are for engines that expire nothing.)

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use secure_sessions_core::Timestamp;

use super::{Item, Version};
use crate::StoreError;
use crate::key_value::{Expected, NewValue, Stored, nonce};

pub(super) const PARTITION_KEY: &str = "partition_key";
pub(super) const SORT_KEY: &str = "sort_key";
pub(super) const EXPIRES_AT: &str = "expires_at";
const RECORD: &str = "record";
const VERSION: &str = "version";

/// An item has 400 KiB, its keys and the names of its attributes included.
const LONGEST_VALUE: usize = 400 * 1024 - 1024;

/// The digits that a name in a folder begins with.
const DIGITS: &str = "0123456789abcdef";
/// The sort key of an item that is alone in its partition.
const ALONE: &str = "-";

/// The primary key of an item.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) partition: String,
    pub(super) sort: String,
}

impl Place {
    pub(super) fn of(key: &str) -> Self {
        let mut parts = key.splitn(4, '/');
        let (prefix, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (parts.next(), parts.next()) {
            (Some(group), Some(rest)) => {
                Self { partition: format!("{prefix}/{folder}/{group}"), sort: rest.to_owned() }
            }
            (Some(rest), None) => {
                let first = rest.chars().next().map(String::from).unwrap_or_default();
                Self { partition: format!("{prefix}/{folder}/{first}"), sort: rest.to_owned() }
            }
            (None, _) => Self { partition: key.to_owned(), sort: ALONE.to_owned() },
        }
    }

    /// Reads it from an item.
    pub(super) fn in_item(item: &Item) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        Some(Self { partition: text(PARTITION_KEY)?, sort: text(SORT_KEY)? })
    }

    pub(super) fn to_item(&self) -> Item {
        Item::from([
            (PARTITION_KEY.to_owned(), AttributeValue::S(self.partition.clone())),
            (SORT_KEY.to_owned(), AttributeValue::S(self.sort.clone())),
        ])
    }
}

/// A partition that a walk over a range of keys goes through.
pub(super) struct Partition {
    pub(super) name: String,
    /// The beginning of the keys in it, in front of their sort key.
    pub(super) front: String,
}

/// Returns the partitions of the range that begins at this key, in the order of their keys.
pub(super) fn partitions_from(key: &str) -> Vec<Partition> {
    let mut parts = key.splitn(4, '/');
    let (prefix, folder) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (name, is_group) = (parts.next().unwrap_or_default(), parts.next().is_some());
    if is_group {
        let name = format!("{prefix}/{folder}/{name}");
        return vec![Partition { front: format!("{name}/"), name }];
    }
    let front = format!("{prefix}/{folder}/");
    let first = name.chars().next().and_then(|first| DIGITS.find(first)).unwrap_or(0);
    let partition = |digit: char| Partition { name: format!("{front}{digit}"), front: front.clone() };
    DIGITS[first..].chars().map(partition).collect()
}

/// Returns a mark that no other write has.
pub(super) fn mark() -> AttributeValue {
    AttributeValue::B(Blob::new(nonce()))
}

/// Returns the item of a value, with this mark.
pub(super) fn item(place: &Place, new: &NewValue, mark: AttributeValue) -> Result<Item, StoreError> {
    let length = new.value.len();
    if length > LONGEST_VALUE {
        return Err(StoreError::rejected(format!("a value of {length} bytes; DynamoDB has room for {LONGEST_VALUE}")));
    }
    let mut item = place.to_item();
    item.insert(RECORD.to_owned(), AttributeValue::B(Blob::new(new.value.as_slice())));
    item.insert(VERSION.to_owned(), mark);
    if let Some(seconds) = expires_at(new.deadline) {
        item.insert(EXPIRES_AT.to_owned(), AttributeValue::N(seconds.to_string()));
    }
    Ok(item)
}

/// Returns the value in an item. One that another program has spoilt is empty, so that it can be removed like any.
pub(super) fn stored(mut item: Item) -> Stored<Version> {
    let value = match item.remove(RECORD) {
        Some(AttributeValue::B(bytes)) => bytes.into_inner(),
        _ => Vec::new(),
    };
    Stored { value, version: item.remove(VERSION) }
}

/// Returns `true` if the item has this mark.
pub(super) fn has_mark(item: &Item, mark: &AttributeValue) -> bool {
    item.get(VERSION) == Some(mark)
}

/// Returns the time after which DynamoDB may remove an item, in its whole seconds; the end of time is never.
fn expires_at(deadline: Timestamp) -> Option<u64> {
    (deadline.as_millis() != u64::MAX).then(|| deadline.as_millis().div_ceil(1000))
}

/// The condition that must hold for a write, as DynamoDB writes it.
pub(super) struct Condition {
    pub(super) expression: Option<String>,
    pub(super) values: Option<Item>,
}

impl Condition {
    pub(super) fn of(expected: &Expected<Version>) -> Self {
        let expression = match expected {
            Expected::Anything => None,
            Expected::Nothing => Some(format!("attribute_not_exists({PARTITION_KEY})")),
            Expected::Unchanged(Stored { version: Some(_), .. }) => Some(format!("{VERSION} = :{VERSION}")),
            Expected::Unchanged(Stored { version: None, .. }) => {
                Some(format!("attribute_exists({PARTITION_KEY}) AND attribute_not_exists({VERSION})"))
            }
        };
        let values = match expected {
            Expected::Unchanged(Stored { version: Some(version), .. }) => {
                Some(Item::from([(format!(":{VERSION}"), version.clone())]))
            }
            _ => None,
        };
        Self { expression, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partitions_of_a_range_are_those_of_its_keys_in_their_order() {
        for key in ["p/s/00ff", "p/s/f0", "p/i/a1/b2/c3", "p/i/a1/b2"] {
            let place = Place::of(key);
            let folder = &key[..key.rfind('/').map_or(0, |slash| slash + 1)];
            let start = if key.starts_with("p/i/") { "p/i/a1/" } else { folder };
            let partition = partitions_from(start).into_iter().find(|partition| partition.name == place.partition);
            let partition = partition.expect("a partition of the range");
            assert_eq!(format!("{}{}", partition.front, place.sort), key);
        }
        let names: Vec<String> = partitions_from("p/s/e1\0").into_iter().map(|partition| partition.name).collect();
        assert_eq!(names, ["p/s/e", "p/s/f"]);
        assert_eq!(partitions_from("p/s/").len(), 16);
        assert_eq!(partitions_from("p/i/a1/b2\0").len(), 1);
    }

    #[test]
    fn a_value_for_which_an_item_has_no_room_is_refused_with_both_sizes() {
        let item = |length| {
            let new = NewValue { value: vec![0; length], deadline: Timestamp::from_millis(0) };
            item(&Place::of("p/s/00"), &new, mark())
        };
        assert!(item(LONGEST_VALUE).is_ok());
        let error = item(LONGEST_VALUE + 1).expect_err("it is refused");
        assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
        assert!(format!("{error:?}").contains("408577 bytes") && format!("{error:?}").contains("408576"), "{error:?}");
    }

    #[test]
    fn nothing_expires_before_its_deadline() {
        for (millis, seconds) in [(0, Some(0)), (1, Some(1)), (1000, Some(1)), (1001, Some(2)), (u64::MAX, None)] {
            assert_eq!(expires_at(Timestamp::from_millis(millis)), seconds);
        }
        let last = expires_at(Timestamp::from_millis(u64::MAX - 1)).expect("a time");
        assert!(last.checked_mul(1000).is_none_or(|millis| millis >= u64::MAX - 1));
    }
}
