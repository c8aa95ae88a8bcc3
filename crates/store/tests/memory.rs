//! The memory store holds the contract, also behind an erased type.
#![cfg(all(feature = "memory", feature = "conformance"))]

use secure_sessions_store::MemoryStore;

secure_sessions_store::conformance_tests!(|| async { MemoryStore::new() });

mod erased {
    use secure_sessions_store::{AnyStore, MemoryStore};

    secure_sessions_store::conformance_tests!(|| async { AnyStore::new(AnyStore::new(MemoryStore::new())) });
}

mod shared {
    use std::sync::Arc;

    use secure_sessions_store::MemoryStore;

    secure_sessions_store::conformance_tests!(|| async { Arc::new(MemoryStore::new()) });
}

mod vault {
    use secure_sessions_store::MemoryStore;

    secure_sessions_store::vault_conformance_tests!(|| async { MemoryStore::new() });
}

mod erased_vault {
    use std::sync::Arc;

    use secure_sessions_store::{AnyVaultStore, MemoryStore};

    secure_sessions_store::vault_conformance_tests!(|| async { Arc::new(AnyVaultStore::new(MemoryStore::new())) });
}
