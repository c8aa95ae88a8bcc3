//! The contract, on a single server and on a cluster.

use std::time::Duration;

use secure_sessions_store::{RedisOptions, RedisStore, conformance};
use services::Shared;

use super::common::{stores, unique, vault_stores};
use super::support::on_cluster;

pub(crate) fn options() -> RedisOptions {
    // The machine may be busy, and that is no fault of the store's.
    RedisOptions::new().prefix(unique("test")).timeout(Duration::from_secs(30))
}

async fn open(url: String) -> RedisStore {
    options().connect(&url).await.unwrap()
}

async fn open_cluster(urls: String) -> RedisStore {
    on_cluster(options(), &urls).await
}

mod single {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Shared::Redis, open).expiring_by_itself());
}

mod cluster {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Shared::RedisCluster, open_cluster).expiring_by_itself());
}

mod vault_on_a_single_server {
    use super::*;

    secure_sessions_store::vault_conformance_tests!(vault_stores(Shared::Redis, open).expiring_by_itself());
}

mod vault_on_a_cluster {
    use super::*;

    secure_sessions_store::vault_conformance_tests!(
        vault_stores(Shared::RedisCluster, open_cluster).expiring_by_itself()
    );
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening_and_two_stores_see_each_other() {
    let Some(url) = Shared::Redis.url() else { return };
    let options = options();
    conformance::survives_reopening(|| async { options.clone().connect(&url).await.unwrap() }).await.unwrap();
    let Some(urls) = Shared::RedisCluster.url() else { return };
    conformance::survives_reopening(|| on_cluster(options.clone(), &urls)).await.unwrap();
}
