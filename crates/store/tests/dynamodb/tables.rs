//! The table, and the items in it.

use std::collections::HashMap;

use secure_sessions_store::aws_sdk_dynamodb::Client;
use secure_sessions_store::aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use secure_sessions_store::{
    Bucket, DynamoDbStore, Entry, Page, SessionId, SessionStore, StoreError, Tags, Timestamp, Which,
};
use services::Shared;

use crate::common::{SUBJECT, next, tombstone, unique};
use crate::support::{TABLE, bucket, client, open, options};

async fn open_patiently(client: Client, table: &str) -> Result<DynamoDbStore, StoreError> {
    options("test").open(client, table).await
}

fn rejected(outcome: Result<DynamoDbStore, StoreError>, words: &[&str]) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
    for word in words {
        assert!(format!("{error:?}").contains(word), "{error:?}");
    }
}

async fn table(client: &Client, name: &str, keys: &[(&str, KeyType)]) {
    let mut call = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in keys {
        let attribute = AttributeDefinition::builder().attribute_name(*name).attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone());
        call = call.attribute_definitions(attribute.build().unwrap()).key_schema(key.build().unwrap());
    }
    call.send().await.unwrap();
}

#[tokio::test]
async fn a_table_is_created_on_request_and_by_many_hosts_at_once() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let name = unique("table");
    rejected(open_patiently(client(&url), &name).await, &[&name, "create_table"]);
    let hosts: Vec<_> = (0..8)
        .map(|_| {
            let (client, name) = (client(&url), name.clone());
            tokio::spawn(async move { DynamoDbStore::create_table(&client, &name).await })
        })
        .collect();
    for host in hosts {
        host.await.unwrap().unwrap();
    }
    let store = open_patiently(client(&url), &name).await.unwrap();
    store.insert(&bucket(1, Some(SUBJECT))).await.unwrap();
    DynamoDbStore::create_table(&client(&url), &name).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
    rejected(options("a/b").open(client(&url), &name).await, &["a/b"]);
}

#[tokio::test]
async fn a_table_with_other_keys_or_without_ttl_is_refused() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let (client, name) = (client(&url), unique("table"));
    table(&client, &name, &[("id", KeyType::Hash)]).await;
    rejected(open_patiently(client.clone(), &name).await, &[&name, "\"id\"", "partition_key"]);
    let error = DynamoDbStore::create_table(&client, &name).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");

    let name = unique("table");
    table(&client, &name, &[("partition_key", KeyType::Hash), ("sort_key", KeyType::Range)]).await;
    rejected(open_patiently(client.clone(), &name).await, &[&name, "TTL", "expires_at"]);
    DynamoDbStore::create_table(&client, &name).await.unwrap();
    open_patiently(client, &name).await.unwrap();
}

/// Returns the items of a store, by their sort keys.
async fn items(client: &Client, prefix: &str) -> HashMap<String, HashMap<String, AttributeValue>> {
    let call = client.scan().table_name(TABLE).consistent_read(true);
    let call = call.filter_expression("begins_with(partition_key, :prefix)");
    let call = call.expression_attribute_values(":prefix", AttributeValue::S(format!("{prefix}/")));
    let mut pages = call.into_paginator().items().send();
    let mut items = HashMap::new();
    while let Some(item) = pages.next().await {
        let item = item.unwrap();
        items.insert(item["sort_key"].as_s().unwrap().clone(), item);
    }
    items
}

fn hex(id: &SessionId) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expiry(item: &HashMap<String, AttributeValue>) -> u64 {
    item["expires_at"].as_n().unwrap().parse().unwrap()
}

#[tokio::test]
async fn dynamodb_may_remove_a_session_after_its_deadline_and_never_before() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let prefix = unique("test");
    let (store, client) = (open(&url, &prefix).await, client(&url));
    let in_seconds = |deadline: Timestamp| deadline.as_millis().div_ceil(1000);
    let first = bucket(1, Some(SUBJECT));
    store.insert(&first).await.unwrap();
    let found = items(&client, &prefix).await;
    assert_eq!(found.len(), 2);
    assert_eq!(expiry(&found[&hex(&first.id)]), in_seconds(first.purge_at()));
    // Its place in the index outlives it, or goes at the same time.
    assert!(found.values().all(|item| expiry(item) >= in_seconds(first.purge_at())));
    let longer =
        Bucket { expires_at: first.expires_at.after(secure_sessions_store::Millis::new(90_001)), ..next(&first) };
    assert!(store.replace(&longer, first.revision).await.unwrap());
    let found = items(&client, &prefix).await;
    assert_eq!(expiry(&found[&hex(&first.id)]), in_seconds(longer.purge_at()));
    let mut places = found.iter().filter(|(sort_key, _)| sort_key.contains('/'));
    assert!(places.any(|(_, place)| expiry(place) >= in_seconds(longer.purge_at())));
    let stone = tombstone(&first, None);
    assert!(store.remove(&first.id, Some(stone)).await.unwrap());
    assert_eq!(expiry(&items(&client, &prefix).await[&hex(&first.id)]), in_seconds(stone.expires_at));
    store.raise_not_before(first.created_at).await.unwrap();
    assert!(!items(&client, &prefix).await["-"].contains_key("expires_at"));
    assert_eq!(store.purge_expired(Timestamp::from_millis(u64::MAX), 100).await.unwrap(), 0);
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_listed_as_such_and_removed_as_any() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let prefix = unique("test");
    let (store, client) = (open(&url, &prefix).await, client(&url));
    for (number, attribute) in [(1, "record"), (11, "version")] {
        for ending in 0..3 {
            let (spoilt, whole) =
                (bucket(number + 2 * ending, Some(SUBJECT)), bucket(number + 2 * ending + 1, Some(SUBJECT)));
            store.insert(&spoilt).await.unwrap();
            store.insert(&whole).await.unwrap();
            let hex = hex(&spoilt.id);
            let call = client.update_item().table_name(TABLE).update_expression("REMOVE #attribute");
            let call = call.expression_attribute_names("#attribute", attribute);
            let call = call.key("partition_key", items(&client, &prefix).await[&hex]["partition_key"].clone());
            call.key("sort_key", AttributeValue::S(hex)).send().await.unwrap();
            if attribute == "record" {
                assert!(matches!(store.load(&spoilt.id).await, Err(StoreError::Corrupt(_))));
                let listed = store.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap();
                assert_eq!(listed.iter().filter(|listed| listed.is_err()).count(), 1);
                assert_eq!(listed.len(), 2);
            }
            match ending {
                0 => assert!(store.remove(&spoilt.id, None).await.unwrap()),
                1 => assert!(store.remove(&spoilt.id, Some(tombstone(&spoilt, None))).await.unwrap()),
                _ => assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap(), 2),
            }
            assert!(!matches!(store.load(&spoilt.id).await.unwrap(), Some(Entry::Bucket(_))));
            store.remove_all(Which::Everything, None).await.unwrap();
            assert_eq!(store.count().await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn what_takes_many_pages_is_walked_to_its_end() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let store = open(&url, &unique("test")).await;
    // All in one partition, which holds several times the megabyte of a page.
    for number in 0..70_u8 {
        let mut id = [0; 16];
        id[1] = number;
        let bucket = Bucket { id: SessionId::from_bytes(id), handoff: Some(vec![number; 60_000]), ..bucket(1, None) };
        store.insert(&bucket).await.unwrap();
    }
    store.insert(&bucket(9, None)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 71);
    assert_eq!(store.remove_all(Which::Everything, Some(&bucket(9, None).id)).await.unwrap(), 70);
    assert_eq!(store.count().await.unwrap(), 1);
}
