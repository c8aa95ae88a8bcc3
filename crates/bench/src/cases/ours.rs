//! Our sessions, on MemoryStore and with the defaults.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use secure_sessions_axum::{Keyring, Session, SessionError, SessionLayer, SessionManager};
use secure_sessions_store::{
    Bucket, Entry, MemoryStore, Page, Revision, SessionId, SessionStore, StoreError, SubjectTag, Timestamp, Tombstone,
    Which,
};

use super::{Calls, Case, Contents, FILL, OURS_READ, OURS_UNSEEN, READ, UNSEEN, answer};

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, path) in [(OURS_UNSEEN, UNSEEN), (OURS_READ, READ)] {
        let (application, calls) = if counted {
            let calls = Arc::new(Calls::default());
            (application(Counted { store: MemoryStore::new(), calls: calls.clone() })?, Some(calls))
        } else {
            (application(MemoryStore::new())?, None)
        };
        cases.push(Case::with_session(name, application, path, calls).await?);
    }
    Ok(cases)
}

fn application(store: impl SessionStore) -> Result<Router> {
    let manager = SessionManager::builder(Keyring::generate()?, store).build()?;
    Ok(Router::new()
        .route(UNSEEN, get(|| async { StatusCode::OK }))
        .route(READ, get(read))
        .route(FILL, get(fill))
        .layer(SessionLayer::new(manager)))
}

async fn read(session: Session) -> Result<StatusCode, SessionError> {
    Ok(answer(session.get("user_id")?))
}

async fn fill(session: Session) -> Result<(), SessionError> {
    let contents = Contents::new();
    session.login("ada")?;
    session.insert("user_id", contents.user_id)?;
    session.insert("name", contents.name)?;
    session.insert("email", contents.email)?;
    session.insert("cart", contents.cart)?;
    session.insert("note", contents.note)
}

struct Counted {
    store: MemoryStore,
    calls: Arc<Calls>,
}

impl SessionStore for Counted {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.calls.write();
        self.store.insert(bucket).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.calls.read();
        self.store.load(id).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.calls.write();
        self.store.replace(bucket, expected).await
    }

    async fn succeed(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.calls.write();
        self.store.succeed(bucket, old, expected, tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.calls.write();
        self.store.remove(id, tombstone).await
    }

    async fn list(&self, subjects: &[SubjectTag], page: Page) -> Result<Vec<Bucket>, StoreError> {
        self.calls.read();
        self.store.list(subjects, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.calls.read();
        self.store.count().await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.calls.write();
        self.store.remove_all(which, except).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.calls.write();
        self.store.purge_expired(now, limit).await
    }
}
