//! The table: created, and checked.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use tokio::time::{sleep, timeout};

use super::errors::failed;
use super::items::{EXPIRES_AT, PARTITION_KEY, SORT_KEY};
use crate::StoreError;

/// The longest time that a table may take to become ready.
const CREATION: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

const KEYS: [(&str, KeyType); 2] = [(PARTITION_KEY, KeyType::Hash), (SORT_KEY, KeyType::Range)];

pub(super) async fn create(client: &Client, table: &str) -> Result<(), StoreError> {
    timeout(CREATION, async {
        if describe(client, table).await?.is_none() {
            create_unready(client, table).await?;
        }
        while !is_ready(&describe(client, table).await?) {
            sleep(PAUSE).await;
        }
        if !expires(client, table).await? {
            turn_expiry_on(client, table).await?;
        }
        check(client, table).await
    })
    .await
    .unwrap_or(Err(StoreError::Timeout))
}

/// Refuses a table that a store cannot use.
pub(super) async fn check(client: &Client, table: &str) -> Result<(), StoreError> {
    let Some(description) = describe(client, table).await? else {
        return Err(StoreError::rejected(format!(
            "there is no table {table:?}: create it by DynamoDbStore::create_table, or as its page says"
        )));
    };
    let keys: Vec<_> = KEYS.iter().map(|(name, kind)| (*name, kind, &ScalarAttributeType::S)).collect();
    let found = keys_of(&description);
    if found != keys {
        return Err(StoreError::rejected(format!(
            "the table {table:?} has the keys {found:?}, and the store needs {keys:?}: name another table"
        )));
    }
    if !is_ready(&Some(description)) {
        return Err(StoreError::unavailable(format!("the table {table:?} is not ready yet")));
    }
    if !expires(client, table).await? {
        return Err(StoreError::rejected(format!(
            "the table {table:?} would keep expired sessions for ever: turn its TTL on, by the attribute {EXPIRES_AT:?}"
        )));
    }
    Ok(())
}

async fn describe(client: &Client, table: &str) -> Result<Option<TableDescription>, StoreError> {
    match client.describe_table().table_name(table).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn is_ready(description: &Option<TableDescription>) -> bool {
    let status = description.as_ref().and_then(TableDescription::table_status);
    matches!(status, Some(TableStatus::Active | TableStatus::Updating))
}

/// Returns the keys of a table and their types.
fn keys_of(description: &TableDescription) -> Vec<(&str, &KeyType, &ScalarAttributeType)> {
    let types = description.attribute_definitions();
    let kind = |name: &str| types.iter().find(|definition| definition.attribute_name() == name);
    let keys = description.key_schema().iter();
    keys.filter_map(|key| Some((key.attribute_name(), key.key_type(), kind(key.attribute_name())?.attribute_type())))
        .collect()
}

async fn create_unready(client: &Client, table: &str) -> Result<(), StoreError> {
    let mut call = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in KEYS {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
        let attribute =
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build();
        call = call.key_schema(key.map_err(StoreError::rejected)?);
        call = call.attribute_definitions(attribute.map_err(StoreError::rejected)?);
    }
    match call.send().await {
        Ok(_) => Ok(()),
        // Another host was faster.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Returns `true` if DynamoDB removes what has expired.
async fn expires(client: &Client, table: &str) -> Result<bool, StoreError> {
    let answer = client.describe_time_to_live().table_name(table).send().await.map_err(failed)?;
    Ok(answer.time_to_live_description.is_some_and(|ttl| {
        let is_on = matches!(ttl.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling));
        is_on && ttl.attribute_name() == Some(EXPIRES_AT)
    }))
}

async fn turn_expiry_on(client: &Client, table: &str) -> Result<(), StoreError> {
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name(EXPIRES_AT).build();
    let call = client.update_time_to_live().table_name(table);
    let call = call.time_to_live_specification(specification.map_err(StoreError::rejected)?);
    match call.send().await {
        Ok(_) => Ok(()),
        // Another host was faster; the check that follows sees to it.
        Err(error) if error.code() == Some("ValidationException") && expires(client, table).await? => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
