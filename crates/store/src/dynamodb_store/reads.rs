//! Reads, each of them consistent.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use tokio::time::sleep;

use super::errors::failed;
use super::items::{self, PARTITION_KEY, Partition, Place, SORT_KEY};
use super::{DynamoDb, FIRST_PAUSE, Item, LONGEST_PAUSE, Version};
use crate::StoreError;
use crate::key_value::Stored;

impl DynamoDb {
    pub(super) async fn item(&self, place: &Place) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = call.set_key(Some(place.to_item())).send().await.map_err(failed)?;
        Ok(answer.item)
    }

    /// Returns the items at these places, as far as they are there.
    pub(super) async fn items(&self, places: &[Place]) -> Result<HashMap<Place, Item>, StoreError> {
        // DynamoDB refuses a place that is named twice.
        let mut wanted: HashMap<&Place, Item> = places.iter().map(|place| (place, place.to_item())).collect();
        let mut left: Vec<Item> = wanted.drain().map(|(_, key)| key).collect();
        let mut found = HashMap::new();
        let mut pause = FIRST_PAUSE;
        while !left.is_empty() {
            let keys = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
            let call = self.client.batch_get_item().request_items(&self.table, keys.map_err(StoreError::rejected)?);
            let answer = call.send().await.map_err(failed)?;
            let items = answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
            found.extend(items.into_iter().filter_map(|item| Some((Place::in_item(&item)?, item))));
            // An answer holds no more than 16 MB, and none of what is too much for the table at this moment.
            left = answer
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(&self.table))
                .map_or(Vec::new(), |keys| keys.keys);
            if !left.is_empty() {
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
        Ok(found)
    }

    /// Returns the first keys from one on and below another, with their values.
    pub(super) async fn range(
        &self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Vec<(String, Stored<Version>)>, StoreError> {
        let mut found = Vec::new();
        for partition in items::partitions_from(from) {
            if found.len() >= limit || partition.front.as_str() >= to {
                break;
            }
            self.range_in(&partition, from, to, limit, &mut found).await?;
        }
        Ok(found)
    }

    async fn range_in(
        &self,
        partition: &Partition,
        from: &str,
        to: &str,
        limit: usize,
        found: &mut Vec<(String, Stored<Version>)>,
    ) -> Result<(), StoreError> {
        // The first key after another one is that key and a character that no key has.
        let (from, comparison) = match from.strip_suffix('\0') {
            Some(last) => (last, ">"),
            None => (from, ">="),
        };
        let first = from.strip_prefix(&partition.front).filter(|sort| !sort.is_empty());
        let condition = match first {
            Some(_) => format!("{PARTITION_KEY} = :partition AND {SORT_KEY} {comparison} :first"),
            None => format!("{PARTITION_KEY} = :partition"),
        };
        let text = aws_sdk_dynamodb::types::AttributeValue::S;
        let mut values = Item::from([(":partition".to_owned(), text(partition.name.clone()))]);
        values.extend(first.map(|first| (":first".to_owned(), text(first.to_owned()))));
        let mut next = None;
        while found.len() < limit {
            let most = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
            let call = self.client.query().table_name(&self.table).consistent_read(true).limit(most);
            let call = call.key_condition_expression(&condition).set_expression_attribute_values(Some(values.clone()));
            let answer = call.set_exclusive_start_key(next).send().await.map_err(failed)?;
            for item in answer.items.unwrap_or_default() {
                let Some(place) = Place::in_item(&item) else { continue };
                let key = format!("{}{}", partition.front, place.sort);
                if key.as_str() >= to {
                    return Ok(());
                }
                found.push((key, items::stored(item)));
            }
            next = answer.last_evaluated_key;
            if next.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}
