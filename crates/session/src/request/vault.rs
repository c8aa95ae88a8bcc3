//! Reads private values from the vault, and tells a lost one from one that another request replaced.

use secure_sessions_core::{BlobError, BlobKey, Reference, Sealer, SecretBytes, SessionId, VaultId};
use secure_sessions_store::VaultStore;

use crate::error::SessionError;
use crate::event::Event;
use crate::manager::SessionManager;

/// The outcome of opening one blob.
pub(crate) enum Found {
    Value(SecretBytes),
    /// The store does not have the blob, or a later release wrote it.
    Missing,
    /// The blob is not the one that was put.
    Altered,
}

/// Reads the values behind these references, in their order, in one round trip.
pub(crate) async fn fetch(
    manager: &SessionManager,
    sealer: &Sealer,
    vault: &VaultId,
    references: &[&Reference],
) -> Result<Vec<Found>, SessionError> {
    let store = manager.vault_store().ok_or(SessionError::NoVault)?;
    let keys: Vec<_> = references.iter().map(|reference| reference.blob_key()).collect();
    let ids: Vec<_> = keys.iter().map(BlobKey::id).collect();
    let mut blobs = store.get(vault, &ids).await.map_err(|error| manager.store_failed("get", error))?;
    // A store that returns fewer than asked for has lost the rest.
    blobs.resize(ids.len(), None);
    let open = |(blob, key): (Option<Vec<u8>>, &BlobKey)| match blob {
        None => Found::Missing,
        Some(blob) => match sealer.open_blob(key, blob) {
            Ok(value) => Found::Value(value),
            Err(BlobError::UnknownVersion { .. }) => Found::Missing,
            Err(_) => Found::Altered,
        },
    };
    Ok(blobs.into_iter().zip(&keys).map(open).collect())
}

/// Reports a lost value, and returns it as the handler's error.
pub(crate) fn lost(manager: &SessionManager, id: &SessionId, key: &str, altered: bool) -> SessionError {
    manager.emit(&Event::VaultLost { session: manager.handle(id), altered });
    SessionError::VaultLost { key: key.into() }
}
