//! The time before which tokens are refused: a row for each call, of which the latest counts.
//!
//! Rows are only ever added, so that parallel calls cannot move the time back, and an operator can see each of them.

use secure_sessions_core::Timestamp;

use super::columns::deadline;
use super::dialect::{Dialect, Row};
use super::table::Table;
use crate::StoreError;

impl<D: Dialect> Table<D> {
    pub(super) async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.dialect().fetch(self.statements().not_before(), &[]).await?;
        let latest = rows.first().map_or(Ok(None), |row| row.integer(0))?;
        Ok(latest.map(|latest| Timestamp::from_millis(u64::try_from(latest).unwrap_or_default())))
    }

    pub(super) async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        match self.write(&self.statements().add_not_before(), &[deadline(at)]).await {
            // Another call gave the same time.
            Ok(_) | Err(StoreError::Duplicate) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
