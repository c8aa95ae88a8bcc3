//! Clients, stores and sessions.

use std::time::Duration;

use secure_sessions_store::aws_sdk_dynamodb::config::retry::RetryConfig;
use secure_sessions_store::aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use secure_sessions_store::aws_sdk_dynamodb::{Client, Config};
use secure_sessions_store::{Bucket, DynamoDbOptions, DynamoDbStore, SubjectTag};
use services::{Engine, Service, Setup, or_skip};

use crate::common::{now, session, spread};

/// The table that tests share.
pub(crate) const TABLE: &str = "sessions";

/// Returns a client as an application makes it. It tries each call three times, as by default, and waits less.
pub(crate) fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::new("tests", "secret", None, None, "tests"))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(20)));
    Client::from_conf(config.build())
}

/// Patient, because all tests run at once.
pub(crate) fn options(prefix: &str) -> DynamoDbOptions {
    DynamoDbOptions::new().prefix(prefix).timeout(Duration::from_secs(30))
}

/// Opens a store of this prefix, in the table that tests share.
pub(crate) async fn open(url: &str, prefix: &str) -> DynamoDbStore {
    let client = client(url);
    DynamoDbStore::create_table(&client, TABLE).await.unwrap();
    options(prefix).open(client, TABLE).await.unwrap()
}

/// Starts an emulator of the test's own.
pub(crate) fn own() -> Option<Service> {
    or_skip(Setup::new(Engine::DynamoDb).within(services::scratch()).start())
}

pub(crate) fn bucket(number: u64, subject: Option<SubjectTag>) -> Bucket {
    Bucket { subject, handoff: Some(vec![1; 700]), ..session(spread(number), now()) }
}
