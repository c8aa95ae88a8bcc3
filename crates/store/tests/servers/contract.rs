//! The conformance suite, over real connections.

use secure_sessions_store::conformance;
use services::Shared;

use crate::common::{stores, vault_stores};
use crate::support::{Database, Kind, OnTable, block_on};

async fn on_postgres(_: String) -> OnTable {
    OnTable::new(Kind::Postgres).await
}

async fn on_mysql(_: String) -> OnTable {
    OnTable::new(Kind::MySql).await
}

mod on_postgres {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Shared::Postgres, super::on_postgres));
}

mod vault_on_postgres {
    use super::*;

    secure_sessions_store::vault_conformance_tests!(vault_stores(Shared::Postgres, super::on_postgres));
}

mod on_mysql {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Shared::MySql, super::on_mysql));
}

mod vault_on_mysql {
    use super::*;

    secure_sessions_store::vault_conformance_tests!(vault_stores(Shared::MySql, super::on_mysql));
}

#[test]
fn what_a_server_acknowledged_survives_reopening() {
    for kind in [Kind::Postgres, Kind::MySql] {
        let Some(database) = Database::new(kind) else { continue };
        block_on(async { conformance::survives_reopening(|| database.open()).await.unwrap() });
    }
}
