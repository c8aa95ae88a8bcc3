//! The conformance suite, over real connections.

use secure_sessions_store::conformance::{self, Stores};

use crate::support::{Database, Kind, OnTable, block_on};

fn stores(kind: Kind) -> Stores {
    match kind.shared().url() {
        Some(_) => Stores::new(move || OnTable::new(kind)),
        None => Stores::missing(kind.shared().name()),
    }
}

mod on_postgres {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Kind::Postgres));
}

mod on_mysql {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Kind::MySql));
}

#[test]
fn what_a_server_acknowledged_survives_reopening() {
    for kind in [Kind::Postgres, Kind::MySql] {
        let Some(database) = Database::new(kind) else { continue };
        block_on(async { conformance::survives_reopening(|| database.open()).await.unwrap() });
    }
}
