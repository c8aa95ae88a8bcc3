//! The indexes of sessions by subject and by group: an ordered set of ids for each tag.
//!
//! A session is written under a ticket that its indexes have before it, so they know every existing session. Lists
//! leave out its surplus members (sessions that ended, writes that never came). They are removed once they are too old to be
//! on their way: member by member, each with its ticket, so that a session that comes again under the same id stays.

use std::collections::BTreeMap;

use redis::cmd;
use secure_sessions_core::{Entry, SessionId};

use super::connection::Connection;
use super::error::unexpected;
use super::keys::Keys;
use super::scripts::behind;
use super::value::{self, Member, Ticket, Write, split};
use crate::{Listed, Page, StoreError, Tag, Tags, Unreadable};

/// The number of members, or sessions, read at a time.
const BATCH: usize = 256;

/// The entry under an id, or nothing, or an error if it cannot be read.
type Found = Result<Option<Entry>, StoreError>;

pub(super) struct Index {
    connection: Connection,
    keys: Keys,
}

impl Index {
    pub(super) fn new(connection: Connection, keys: Keys) -> Self {
        Self { connection, keys }
    }

    /// Adds places for a session with tags that is about to be written: the first index hands out the ticket. Each may be on
    /// another node.
    pub(super) async fn add(&self, write: &Write) -> Result<Ticket, StoreError> {
        let mut indexes = write.tags.iter().map(|tag| self.keys.index(tag));
        let first = indexes.next().ok_or_else(unexpected)?;
        let ticket = self.connection.add(&first, write).await?;
        let member = value::member(&write.id, &ticket);
        for index in indexes {
            self.connection.keep(&index, &member, write.index_deadline).await?;
        }
        Ok(ticket)
    }

    /// Removes a place of a session that has ended.
    pub(super) async fn forget(&self, tag: &Tag, id: &SessionId, ticket: &Ticket) -> Result<(), StoreError> {
        let mut zrem = cmd("ZREM");
        zrem.arg(self.keys.index(tag)).arg(&value::member(id, ticket)[..]);
        self.connection.query(&zrem).await
    }

    pub(super) async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let mut found = BTreeMap::new();
        if limit == 0 {
            return Ok(Vec::new());
        }
        for tag in tags.iter() {
            found.extend(self.with_tag(&tag, tags, page.after, limit).await?);
        }
        Ok(found.into_values().take(limit).collect())
    }

    /// Returns the first sessions after an id that one tag's index leads to.
    async fn with_tag(
        &self,
        tag: &Tag,
        tags: Tags<'_>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<BTreeMap<SessionId, Listed>, StoreError> {
        let mut found = BTreeMap::new();
        let mut bound = after.as_ref().map_or_else(|| b"-".to_vec(), behind);
        while found.len() < limit {
            let members = self.members(tag, &bound, limit.clamp(16, BATCH)).await?;
            let Some(last) = members.last() else { break };
            bound = behind(&split(last).0);
            let mut stale = Vec::new();
            for (member, entry) in members.iter().zip(self.load(&members).await?) {
                match entry {
                    // A session that moves from one of them to another is found in either.
                    Ok(Some(Entry::Bucket(bucket))) if tags.covers(&bucket) => {
                        found.insert(bucket.id, Ok(bucket));
                    }
                    Err(error) => {
                        let (id, _) = split(member);
                        found.insert(id, Err(Unreadable { id, error }));
                    }
                    _ => stale.push(*member),
                }
            }
            self.tidy(tag, &stale).await?;
        }
        // Several places of one session may lie on both sides of a batch's end, but its id is here once.
        Ok(found.into_iter().take(limit).collect())
    }

    /// Returns the members of an index after a bound, in their order.
    async fn members(&self, tag: &Tag, bound: &[u8], count: usize) -> Result<Vec<Member>, StoreError> {
        let mut range = cmd("ZRANGEBYLEX");
        range.arg(self.keys.index(tag)).arg(bound).arg("+").arg("LIMIT").arg(0).arg(count);
        members(self.connection.query(&range).await?)
    }

    /// Returns all members of an index, as of one instant.
    pub(super) async fn all_members(&self, tag: &Tag) -> Result<Vec<Member>, StoreError> {
        let mut range = cmd("ZRANGE");
        range.arg(self.keys.index(tag)).arg(0).arg(-1);
        members(self.connection.query(&range).await?)
    }

    /// Loads the entries under the members' ids. One that cannot be read does not fail the others.
    async fn load(&self, members: &[Member]) -> Result<Vec<Found>, StoreError> {
        let mut entries = Vec::with_capacity(members.len());
        for batch in members.chunks(BATCH) {
            let mut get = cmd("MGET");
            for member in batch {
                get.arg(self.keys.entry(&split(member).0));
            }
            let values: Vec<Option<Vec<u8>>> = self.connection.query(&get).await?;
            if values.len() != batch.len() {
                return Err(unexpected());
            }
            for value in values {
                entries.push(value.map(|value| value::entry(&value)).transpose());
            }
        }
        Ok(entries)
    }

    /// Removes stale members from a tag's index.
    pub(super) async fn tidy_index(&self, tag: &Tag) -> Result<(), StoreError> {
        let members = self.all_members(tag).await?;
        let entries = self.load(&members).await?;
        let stale = members.iter().zip(&entries).filter(|(_, entry)| match entry {
            Ok(Some(Entry::Bucket(bucket))) => !tag.is_of(bucket),
            Ok(_) => true,
            // The index alone knows of it.
            Err(_) => false,
        });
        let stale: Vec<Member> = stale.map(|(member, _)| *member).collect();
        self.tidy(tag, &stale).await
    }

    /// The members were read before their sessions were looked for, and found missing.
    async fn tidy(&self, tag: &Tag, stale: &[Member]) -> Result<(), StoreError> {
        for batch in stale.chunks(BATCH) {
            self.connection.tidy(&self.keys.index(tag), batch).await?;
        }
        Ok(())
    }
}

fn members(found: Vec<Vec<u8>>) -> Result<Vec<Member>, StoreError> {
    let members = found.into_iter().map(|member| member.try_into().map_err(|_| unexpected()));
    members.collect()
}
