//! The contract, in a file and in memory.

/// A store in a file that is removed with the last clone.
mod file {
    use std::sync::Arc;

    use secure_sessions_store::{SessionStore, SqlStore, VaultStore};

    use crate::{Directory, open};

    struct InFile(SqlStore, #[expect(dead_code, reason = "removes the file")] Arc<Directory>);

    impl InFile {
        async fn new() -> Self {
            let directory = Directory::new();
            Self(open(&directory.url()).await, Arc::new(directory))
        }
    }

    impl SessionStore for InFile {
        secure_sessions_store::forward_methods!(self => &self.0;
            insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired);
    }

    impl VaultStore for InFile {
        secure_sessions_store::forward_vault_methods!(self => &self.0; put, get, delete, delete_all, prolong, purge);
    }

    secure_sessions_store::conformance_tests!(InFile::new);

    mod vault {
        use super::InFile;

        secure_sessions_store::vault_conformance_tests!(InFile::new);
    }
}

mod in_memory {
    use crate::open;

    secure_sessions_store::conformance_tests!(|| open("sqlite::memory:"));

    mod vault {
        use crate::open;

        secure_sessions_store::vault_conformance_tests!(|| open("sqlite::memory:"));
    }
}
