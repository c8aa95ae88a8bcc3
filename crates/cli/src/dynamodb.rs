//! A table of DynamoDB, with the region and credentials of the operator's shell.

use std::env;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::error::Failure;

/// A table, and the client that reaches it.
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Table {
    /// Reads what stands behind `dynamodb:`, the table's name alone or behind the URL of another server than AWS's.
    pub(crate) fn new(place: &str) -> Result<Self, Failure> {
        let (endpoint, name) = place.rsplit_once('/').map_or((None, place), |(url, name)| (Some(url), name));
        if name.is_empty() || endpoint.is_some_and(|url| !url.starts_with("http") || url.contains('@')) {
            return Err(Failure::Usage("write dynamodb:TABLE, or dynamodb:http://HOST:PORT/TABLE".to_owned()));
        }
        let region = variable("AWS_REGION").or_else(|missing| variable("AWS_DEFAULT_REGION").map_err(|_| missing))?;
        let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
        let credentials = Credentials::new(id, secret, variable("AWS_SESSION_TOKEN").ok(), None, "environment");
        let https = aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region))
            .credentials_provider(credentials)
            .http_client(https.build_https());
        let config = match endpoint {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        Ok(Self { client: Client::from_conf(config.build()), name: name.to_owned() })
    }
}

fn variable(name: &str) -> Result<String, Failure> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
        Failure::Usage(format!(
            "{name} is not set: DynamoDB takes a region, AWS_REGION, and credentials: \
             `eval \"$(aws configure export-credentials --format env)\"` sets them"
        ))
    })
}
