//! The conformance suite.

use secure_sessions_store::aws_sdk_dynamodb::Client;
use secure_sessions_store::aws_sdk_dynamodb::types::AttributeValue;
use secure_sessions_store::conformance::survives_reopening;
use secure_sessions_store::{
    DynamoDbStore, SessionStore, StoreError, Timestamp, VaultStore, forward_methods, forward_vault_methods,
};
use services::Shared;

use crate::common::{now, stores, unique, vault_stores};
use crate::support::{TABLE, client, open};

/// A store whose purge does what DynamoDB does in its own time, and the emulator never: it removes the items whose
/// `expires_at` has passed.
struct Swept {
    store: DynamoDbStore,
    client: Client,
    prefix: String,
}

impl Swept {
    async fn open(url: String) -> Self {
        let prefix = unique("test");
        Self { store: open(&url, &prefix).await, client: client(&url), prefix }
    }

    async fn sweep(&self) {
        let seconds = AttributeValue::N((now().as_millis() / 1000).to_string());
        let call = self.client.scan().table_name(TABLE).consistent_read(true);
        let call = call.filter_expression("expires_at < :now AND begins_with(partition_key, :prefix)");
        let call = call.expression_attribute_values(":now", seconds.clone());
        let call = call.expression_attribute_values(":prefix", AttributeValue::S(format!("{}/", self.prefix)));
        let mut pages = call.into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let mut item = item.unwrap();
            let call = self.client.delete_item().table_name(TABLE).condition_expression("expires_at < :now");
            let call = call.expression_attribute_values(":now", seconds.clone());
            let call = call.key("partition_key", item.remove("partition_key").unwrap());
            call.key("sort_key", item.remove("sort_key").unwrap()).send().await.unwrap();
        }
    }
}

impl SessionStore for Swept {
    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.sweep().await;
        self.store.purge_expired(now, limit).await
    }

    forward_methods!(self => &self.store;
        insert, load, replace, renew_into, remove, list, count, remove_all, now, not_before, raise_not_before);
}

impl VaultStore for Swept {
    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.sweep().await;
        self.store.purge(now, limit).await
    }

    forward_vault_methods!(self => &self.store; put, get, delete, delete_all, prolong);
}

secure_sessions_store::conformance_tests!(stores(Shared::DynamoDb, Swept::open).expiring_by_itself());

mod of_vaults {
    use super::*;

    secure_sessions_store::vault_conformance_tests!(vault_stores(Shared::DynamoDb, Swept::open).expiring_by_itself());
}

#[tokio::test]
async fn everything_is_there_when_the_store_is_opened_again() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let prefix = unique("test");
    survives_reopening(|| open(&url, &prefix)).await.unwrap();
}
