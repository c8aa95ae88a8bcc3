//! Lua scripts: each is one step on the server.
//!
//! A script touches the keys that it is given, all in one slot; on a single server also the indexes beside the entry. A
//! value's parts are described in [`value`](super::value), a record's in `secure_sessions_core::record`. Scripts compare
//! bytes with `==` alone: `<` goes by the server's `LC_COLLATE`.
//!
//! | code | meaning | scripts |
//! | --- | --- | --- |
//! | 1 | done, by this call or by the same one when it was sent before | all that write |
//! | 0 | the entry is not as expected: there is none, a tombstone, another revision, or (insert) any entry | insert, swap, replace, remove, renew_into |
//! | 2 | the indexes of the new tags have to be written first; in a cluster only | replace |
//! | -1 | the entry cannot be read | replace, renew_into; remove of an expected revision |
//! | -2 | the ticket is too old: the write was held up on its way, and the index may have forgotten it | insert, replace |
//! | -3 | the new id is taken | renew_into |
//!
//! `remove` returns the code with what it removed, `end_some` and `sweep` a cursor and counts, `add` a ticket, and `tidy` a
//! count.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use secure_sessions_core::{GroupTag, Revision, SessionId, SubjectTag};

use super::connection::{Answer, Connection, Until, is_syntax_error};
use super::error::unexpected;
use super::keys::Keys;
use super::seen::Seen;
use super::value::{Member, TICKET_LEN, Ticket, Write};
use crate::{StoreError, Tag, Tags};

/// The life of a ticket: a write that was held up for longer, on its way or in a stopped server, is refused. It is far less
/// than [`STALE`], so that clocks may differ by half an hour.
const TICKET_IS_GOOD: &str = "600000";
/// The age from which a member of an index without a session is left from one that has ended.
const STALE: &str = "3600000";

/// The code that all scripts share.
const COMMON: &str = r"
-- A replica refuses a write, even one that changes nothing. Without it, a script that finds nothing to write would answer
-- from the past of a server that was the primary until a moment ago.
local asked = redis.pcall('SETRANGE', (KEYS[1] or ARGV[1]) .. '?', 0, '')
if type(asked) == 'table' and asked.err and string.find(asked.err, 'READONLY', 1, true) then
    return {err = 'READONLY the server is a replica'}
end

local NONE = string.rep('\0', 16)

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number of eight bytes.
local function number(bytes) return (struct.unpack('>I8', bytes)) end

-- The front of an entry, up to its tags: '' if there is none, false if it cannot be read.
local function front(key)
    local front = redis.pcall('GETRANGE', key, 0, 134)
    if front == '' then return '' end
    if type(front) ~= 'string' then return false end
    local kind, flags = string.byte(front, 26, 27)
    if string.byte(front, 25) ~= 1 or (kind ~= 1 and kind ~= 2) then return false end
    -- A tombstone, or a bucket with its tags: what is shorter was cut off.
    local least = 59
    if kind == 1 then
        if not flags then return false end
        least = 103 + flags % 2 * 16 + math.floor(flags / 64) % 2 * 16
    end
    if #front < least then return false end
    return front
end

local function hex(id) return string.format(string.rep('%02x', 16), string.byte(id, 1, 16)) end

local function ticket(front) return string.sub(front, 1, 16) end
local function nonce(front) return string.sub(front, 17, 24) end
local function is_bucket(front) return string.byte(front, 26) == 1 end
local function has_revision(front, expected) return string.sub(front, 44, 51) == expected end
local function expires_at(front) return string.sub(front, 68, 75) end
-- The subject and the group, each '' if there is none.
local function tags(front)
    local flags, subject, at = string.byte(front, 27), '', 104
    if flags % 2 == 1 then subject, at = string.sub(front, 104, 119), 120 end
    if math.floor(flags / 64) % 2 == 1 then return subject, string.sub(front, at, at + 15) end
    return subject, ''
end

local function put(key, ticket, body, deadline)
    redis.call('SET', key, ticket .. body, 'PXAT', deadline)
end

-- Keeps a member in an index, and the index for as long as the session may live.
local function keep(index, member, deadline)
    redis.call('ZADD', index, 0, member)
    local left = redis.call('PTTL', index)
    if left < 0 or now() + left < tonumber(deadline) then redis.call('PEXPIREAT', index, deadline) end
end

-- Adds a session to the indexes from this key on.
local function add(first, id, nonce, deadline)
    local ticket = struct.pack('>I8', now()) .. nonce
    for at = first, #KEYS do keep(KEYS[at], id .. ticket, deadline) end
    return ticket
end

-- Removes a session from the indexes of its tags, on a single server.
local function forget(head, front)
    local subject, group = tags(front)
    local member = string.sub(front, 28, 43) .. ticket(front)
    if subject ~= '' then redis.call('ZREM', head .. hex(subject) .. '}:subject', member) end
    if group ~= '' then redis.call('ZREM', head .. hex(group) .. '}:group', member) end
end

local function is_late(ticket)
    return ticket ~= NONE and now() - number(string.sub(ticket, 1, 8)) > TICKET_IS_GOOD
end
";

/// Adds a member to an index, and returns its ticket. KEYS: index. ARGV: id, nonce, the index's deadline.
const ADD: &str = "return add(1, ARGV[1], ARGV[2], ARGV[3])";

/// Asserts that an index has a member. KEYS: index. ARGV: member, the index's deadline.
const KEEP: &str = r"
keep(KEYS[1], ARGV[1], ARGV[2])
return 1
";

/// Inserts an entry. KEYS: entry [, indexes]. ARGV: body, nonce, deadline, ticket, id, the indexes' deadline.
const INSERT: &str = r"
local there = front(KEYS[1])
if there ~= '' then return there and nonce(there) == ARGV[2] and 1 or 0 end
local ticket = ARGV[4]
if is_late(ticket) then return -2 end
if KEYS[2] then ticket = add(2, ARGV[5], ARGV[2], ARGV[6]) end
put(KEYS[1], ticket, ARGV[1], ARGV[3])
return 1
";

/// The usual swap: the entry is as the caller read it, and keeps its place in the indexes. KEYS: entry. ARGV: the head of the
/// value that the caller read, the new value, its deadline. Every other swap is for [`REPLACE`].
///
/// Each value that a script touches is copied into Lua and out again, and each join of two copies once more: with values of
/// 3 kB this takes 5 us of the server's time, and [`REPLACE`] takes 9.
const SWAP: &str = r"
if redis.call('GETRANGE', KEYS[1], 0, 23) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
";

/// Swaps an entry. KEYS: entry [, indexes]. ARGV: body, deadline, expected revision, `expires_at`, subject or '', ticket or '',
/// id, the indexes' deadline, group or '' [, anything]. With the last one, it returns the ticket of a session that keeps its
/// place in place of 1.
const REPLACE: &str = r"
local old, nonce_of_this = front(KEYS[1]), string.sub(ARGV[1], 1, 8)
if not old then return -1 end
if old == '' or not is_bucket(old) then return 0 end
if nonce(old) == nonce_of_this then return 1 end
if not has_revision(old, ARGV[3]) then return 0 end
local ticket = ticket(old)
local subject, group = tags(old)
if ARGV[5] == '' and ARGV[9] == '' then
    ticket = NONE
elseif ARGV[5] ~= subject or ARGV[9] ~= group or number(ARGV[4]) > number(expires_at(old)) then
    if KEYS[2] then
        ticket = add(2, ARGV[7], nonce_of_this, ARGV[8])
    elseif ARGV[6] == '' then
        return 2
    elseif is_late(ARGV[6]) then
        return -2
    else
        ticket = ARGV[6]
    end
end
put(KEYS[1], ticket, ARGV[1], ARGV[2])
return ARGV[10] and ticket or 1
";

/// Ends a session. KEYS: entry. ARGV: the tombstone's body or '', its nonce, deadline, expected revision or '', expected nonce
/// or ''.
///
/// An entry that cannot be read is removed like any bucket, unless the call expects a revision or a nonce.
const REMOVE: &str = r"
local old = front(KEYS[1])
local removed
if old == '' then return {0} end
if not old then
    if ARGV[4] ~= '' or ARGV[5] ~= '' then return {-1} end
    removed = {1, '', '', ''}
else
    if not is_bucket(old) then return {nonce(old) == ARGV[2] and 1 or 0, '', '', ''} end
    if ARGV[4] ~= '' and not has_revision(old, ARGV[4]) then return {0} end
    if ARGV[5] ~= '' and nonce(old) ~= ARGV[5] then return {0} end
    local subject, group = tags(old)
    removed = {1, subject, group, ticket(old)}
end
-- First the end: after a write that frees memory, a server whose memory is full takes the tombstone.
redis.call('DEL', KEYS[1])
if ARGV[1] ~= '' then put(KEYS[1], NONE, ARGV[1], ARGV[3]) end
return removed
";

/// Renews, on a single server. KEYS: new entry, old entry [, indexes]. ARGV: body, nonce, deadline, id, the indexes' deadline,
/// expected revision, the tombstone's body, its deadline.
const RENEW_INTO: &str = r"
local new = front(KEYS[1])
if new and new ~= '' and nonce(new) == ARGV[2] then return 1 end
local old = front(KEYS[2])
if not old then return -1 end
if old == '' or not is_bucket(old) or not has_revision(old, ARGV[6]) then return 0 end
if new ~= '' then return -3 end
local ticket = NONE
if KEYS[3] then ticket = add(3, ARGV[4], ARGV[2], ARGV[5]) end
put(KEYS[1], ticket, ARGV[1], ARGV[3])
put(KEYS[2], NONE, ARGV[7], ARGV[8])
return 1
";

/// Removes stale members. KEYS: index. ARGV: members without sessions.
const TIDY: &str = r"
local now, removed = now(), 0
for _, member in ipairs(ARGV) do
    if number(string.sub(member, 17, 24)) + STALE < now then removed = removed + redis.call('ZREM', KEYS[1], member) end
end
return removed
";

/// Ends, on a single server, the sessions with some tags that the next members of an index lead to. KEYS: index. ARGV: the
/// prefix of an entry's key, an id to spare or '', the bound before the members, their number, 's' (subjects) or 'g' (groups),
/// the tags. Returns the next bound ('' at the end), the number of sessions ended, and the ids of tombstones.
const END_SOME: &str = r"
local members = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local wanted, removed, ends = {}, 0, {}
for at = 6, #ARGV do wanted[ARGV[at]] = true end
local function is_wanted(old)
    local subject, group = tags(old)
    return wanted[ARGV[5] == 's' and subject or group]
end
for _, member in ipairs(members) do
    local id = string.sub(member, 1, 16)
    local key = ARGV[1] .. hex(id) .. '}'
    local old = front(key)
    if old and old ~= '' and not is_bucket(old) then
        table.insert(ends, id)
    elseif id ~= ARGV[2] and old ~= '' and (not old or is_wanted(old)) then
        redis.call('DEL', key)
        redis.call('ZREM', KEYS[1], member)
        if old then forget(ARGV[1], old) end
        removed = removed + 1
    end
end
return {#members == tonumber(ARGV[4]) and '(' .. members[#members] or '', removed, ends}
";

/// Ends, on a single server, the sessions that one step of `SCAN` finds. ARGV: the prefix of an entry's key, an id to spare or
/// '', cursor, keys to look at. Returns the next cursor ('' at the end), the number of sessions ended, and the ids of
/// tombstones.
const SWEEP: &str = r"
local head = ARGV[1]
local found = redis.call('SCAN', ARGV[3], 'MATCH', head .. string.rep('[0-9a-f]', 32) .. '}', 'COUNT', ARGV[4])
local spared = ARGV[2] ~= '' and head .. hex(ARGV[2]) .. '}'
local removed, ends = 0, {}
for _, key in ipairs(found[2]) do
    local old = front(key)
    if old and old ~= '' and not is_bucket(old) then
        table.insert(ends, string.sub(old, 28, 43))
    elseif old ~= '' and key ~= spared then
        redis.call('DEL', key)
        if old then forget(head, old) end
        removed = removed + 1
    end
end
return {found[1] == '0' and '' or found[1], removed, ends}
";

struct Scripts {
    end_some: Source,
    sweep: Source,
    add: Source,
    keep: Source,
    insert: Source,
    replace: Source,
    swap: Source,
    remove: Source,
    renew_into: Source,
    tidy: Source,
}

pub(super) struct Source {
    text: String,
    hash: String,
}

impl Source {
    /// Puts the code that all scripts share in front of a script.
    pub(super) fn new(body: &str) -> Self {
        Self::whole(format!("{COMMON}{body}").replace("TICKET_IS_GOOD", TICKET_IS_GOOD).replace("STALE", STALE))
    }

    fn whole(text: String) -> Self {
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let source = Source::new;
    Scripts {
        end_some: source(END_SOME),
        sweep: source(SWEEP),
        add: source(ADD),
        keep: source(KEEP),
        insert: source(INSERT),
        replace: source(REPLACE),
        swap: Source::whole(SWAP.to_owned()),
        remove: source(REMOVE),
        renew_into: source(RENEW_INTO),
        tidy: source(TIDY),
    }
});

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The write was carried out.
    Done,
    /// The entry is not as expected: nothing was written.
    Refused,
    /// The index has to be written before: nothing was written.
    NeedsTicket,
    /// The new id is taken: nothing was written.
    Duplicate,
}

/// The outcome of a swap of an entry as it was read.
pub(super) struct Swapped {
    /// Set to `true` if it was carried out; to `false` if the entry was another one.
    pub(super) is_done: bool,
    /// Set to `true` if it was sent twice: if it was not carried out now, it may have been before.
    pub(super) is_second: bool,
}

/// The outcome of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removed {
    /// A bucket was removed, with its place in the index of each of its tags.
    Bucket(Vec<(Tag, Ticket)>),
    /// There was no bucket, or one with another revision.
    Nothing,
    /// There is no bucket, and nobody knows if there was one: the call was sent twice, and leaves no tombstone by which the
    /// second run would recognise the first.
    Unknown,
}

/// The findings of a step through all sessions.
pub(super) struct Swept {
    /// The start of the next step; empty after the last one.
    pub(super) next: Vec<u8>,
    /// The number of sessions that it ended.
    pub(super) removed: u64,
    /// The ids of tombstones: sessions that had ended before.
    pub(super) ends: Vec<SessionId>,
}

const NO_TICKET: Ticket = [0; TICKET_LEN];

impl Connection {
    pub(super) async fn add(&self, index: &str, write: &Write) -> Result<Ticket, StoreError> {
        let deadline = write.index_deadline.to_string();
        let arguments: [&[u8]; 3] = [write.id.as_bytes(), &write.nonce, deadline.as_bytes()];
        match self.script(&SCRIPTS.add, Until::Server, &[index], &arguments).await?.value {
            Value::BulkString(ticket) => ticket.try_into().map_err(|_| unexpected()),
            _ => Err(unexpected()),
        }
    }

    /// Asserts that an index has a member, for as long as its session may live.
    pub(super) async fn keep(&self, index: &str, member: &Member, deadline: u64) -> Result<(), StoreError> {
        let deadline = deadline.to_string();
        self.script(&SCRIPTS.keep, Until::Server, &[index], &[member, deadline.as_bytes()]).await.map(drop)
    }

    pub(super) async fn insert(
        &self,
        key: &str,
        write: &Write,
        ticket: Option<&Ticket>,
    ) -> Result<Outcome, StoreError> {
        self.insert_with(&[key], write, ticket.unwrap_or(&NO_TICKET)).await
    }

    /// Inserts an entry and its places in these indexes, on a single server.
    pub(super) async fn insert_indexed(
        &self,
        key: &str,
        indexes: &[String],
        write: &Write,
    ) -> Result<Outcome, StoreError> {
        self.insert_with(&with_indexes(key, indexes), write, &NO_TICKET).await
    }

    async fn insert_with(&self, keys: &[&str], write: &Write, ticket: &Ticket) -> Result<Outcome, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let arguments: [&[u8]; 6] =
            [write.body(), &write.nonce, deadline.as_bytes(), ticket, write.id.as_bytes(), index_deadline.as_bytes()];
        known(&self.script(&SCRIPTS.insert, self.until(write, keys[0]), keys, &arguments).await?)
    }

    /// Swaps an entry that is as the caller read it, and keeps its place in the indexes.
    pub(super) async fn swap(&self, key: &str, seen: &Seen, write: &mut Write) -> Result<Swapped, StoreError> {
        let until = self.until(write, key);
        let (deadline, value) = (write.deadline.to_string(), write.value(&seen.ticket()));
        let arguments = [&seen.head[..], value, deadline.as_bytes()];
        let answer = match &seen.value {
            Some(old) => {
                let room = key.len() + value.len() + old.len() + deadline.len() + 11;
                let mut set = Cmd::with_capacity(7, room);
                set.arg("SET").arg(key).arg(value).arg("IFEQ").arg(old).arg("PXAT").arg(&deadline);
                let other = || {
                    self.set_compares_from_now_on(false);
                    run("EVAL", &SCRIPTS.swap.text, &[key], &arguments)
                };
                // After a failover, or on another node of a cluster, the server may be an older one.
                self.query_or(set, until, is_syntax_error, other).await?
            }
            None => self.script(&SCRIPTS.swap, until, &[key], &arguments).await?,
        };
        let is_done = match answer.value {
            Value::Okay | Value::Int(1) => true,
            Value::Nil | Value::Int(0) => false,
            _ => return Err(unexpected()),
        };
        Ok(Swapped { is_done, is_second: answer.is_second })
    }

    pub(super) async fn replace(
        &self,
        key: &str,
        indexes: &[String],
        write: &Write,
        expected: Revision,
    ) -> Result<Outcome, StoreError> {
        known(&self.replace_with(&with_indexes(key, indexes), write, None, expected, false).await?)
    }

    /// Swaps an entry in a cluster. Also returns the place in the indexes of a session that has a tag.
    pub(super) async fn replace_on_node(
        &self,
        key: &str,
        write: &Write,
        ticket: Option<&Ticket>,
        expected: Revision,
    ) -> Result<(Outcome, Option<Ticket>), StoreError> {
        let answer = self.replace_with(&[key], write, ticket, expected, !write.tags.is_empty()).await?;
        if let Value::BulkString(ticket) = &answer.value {
            return Ok((Outcome::Done, Some(ticket.as_slice().try_into().map_err(|_| unexpected())?)));
        }
        Ok((known(&answer)?, None))
    }

    async fn replace_with(
        &self,
        keys: &[&str],
        write: &Write,
        ticket: Option<&Ticket>,
        expected: Revision,
        wants_ticket: bool,
    ) -> Result<Answer, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let expected = expected.get().to_be_bytes();
        let (mut subject, mut group): (&[u8], &[u8]) = (&[], &[]);
        for tag in &write.tags {
            match tag {
                Tag::Subject(tag) => subject = tag.as_bytes(),
                Tag::Group(tag) => group = tag.as_bytes(),
            }
        }
        let arguments: [&[u8]; 10] = [
            write.body(),
            deadline.as_bytes(),
            &expected,
            &write.expires_at,
            subject,
            ticket.map_or(&[], |ticket| ticket),
            write.id.as_bytes(),
            index_deadline.as_bytes(),
            group,
            b"1",
        ];
        let arguments = if wants_ticket { &arguments[..] } else { &arguments[..9] };
        self.script(&SCRIPTS.replace, self.until(write, keys[0]), keys, arguments).await
    }

    /// Ends a bucket, of any revision or of the expected one.
    pub(super) async fn remove(
        &self,
        key: &str,
        tombstone: Option<&Write>,
        expected: Option<Revision>,
    ) -> Result<Removed, StoreError> {
        self.remove_if(key, tombstone, expected, &[]).await
    }

    /// Ends the bucket that this write left, and no other.
    pub(super) async fn take_back(&self, key: &str, written: &Write) -> Result<(), StoreError> {
        self.remove_if(key, None, None, &written.nonce).await.map(drop)
    }

    async fn remove_if(
        &self,
        key: &str,
        tombstone: Option<&Write>,
        expected: Option<Revision>,
        nonce: &[u8],
    ) -> Result<Removed, StoreError> {
        let deadline = tombstone.map_or(0, |write| write.deadline).to_string();
        let expected = expected.map(|revision| revision.get().to_be_bytes());
        let arguments: [&[u8]; 5] = [
            tombstone.map_or(&[], Write::body),
            tombstone.map_or(&[], |write| &write.nonce),
            deadline.as_bytes(),
            expected.as_ref().map_or(&[], |revision| revision),
            nonce,
        ];
        let answer = self.script(&SCRIPTS.remove, Until::Replica(key), &[key], &arguments).await?;
        let Value::Array(found) = &answer.value else { return Err(unexpected()) };
        let [code, place @ ..] = found.as_slice() else { return Err(unexpected()) };
        match (outcome(code)?, place) {
            (Outcome::Done, [Value::BulkString(subject), Value::BulkString(group), Value::BulkString(ticket)]) => {
                let subject = SubjectTag::try_from(subject.as_slice()).ok().map(Tag::Subject);
                let group = GroupTag::try_from(group.as_slice()).ok().map(Tag::Group);
                let ticket: Option<Ticket> = ticket.as_slice().try_into().ok();
                Ok(Removed::Bucket(subject.into_iter().chain(group).zip(ticket.into_iter().cycle()).collect()))
            }
            (Outcome::Refused, _) if answer.is_second && tombstone.is_none() => Ok(Removed::Unknown),
            (Outcome::Refused, _) => Ok(Removed::Nothing),
            _ => Err(unexpected()),
        }
    }

    /// Runs the whole renewal, on a single server.
    pub(super) async fn renew_into(
        &self,
        keys: &[&str],
        write: &Write,
        expected: Revision,
        tombstone: &Write,
    ) -> Result<Outcome, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let (expected, until) = (expected.get().to_be_bytes(), tombstone.deadline.to_string());
        let arguments: [&[u8]; 8] = [
            write.body(),
            &write.nonce,
            deadline.as_bytes(),
            write.id.as_bytes(),
            index_deadline.as_bytes(),
            &expected,
            tombstone.body(),
            until.as_bytes(),
        ];
        known(&self.script(&SCRIPTS.renew_into, Until::Replica(keys[0]), keys, &arguments).await?)
    }

    /// Removes those members from an index that are too old to be on their way to a session.
    pub(super) async fn tidy(&self, index: &str, members: &[Member]) -> Result<(), StoreError> {
        let members: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
        self.script(&SCRIPTS.tidy, Until::Server, &[index], &members).await.map(drop)
    }

    /// Ends the sessions with these tags, save for one, that the next members of one tag's index lead to, on a single server.
    pub(super) async fn end_some(
        &self,
        keys: &Keys,
        index: &Tag,
        tags: Tags<'_>,
        except: Option<&SessionId>,
        bound: &[u8],
        count: usize,
    ) -> Result<Swept, StoreError> {
        let (index, count) = (keys.index(index), count.to_string());
        let kind: &[u8] = match tags {
            Tags::Subjects(_) => b"s",
            Tags::Groups(_) => b"g",
        };
        let tags: Vec<Tag> = tags.iter().collect();
        let spared: &[u8] = except.map_or(&[], |id| id.as_bytes());
        let mut arguments: Vec<&[u8]> = vec![keys.head().as_bytes(), spared, bound, count.as_bytes(), kind];
        arguments.extend(tags.iter().map(|tag| &tag.as_bytes()[..]));
        swept(self.script(&SCRIPTS.end_some, Until::Replica(&index), &[&index], &arguments).await?.value)
    }

    /// Ends the sessions in one step of `SCAN` save for one, on a single server.
    pub(super) async fn sweep(
        &self,
        keys: &Keys,
        except: Option<&SessionId>,
        cursor: &[u8],
        count: usize,
    ) -> Result<Swept, StoreError> {
        let count = count.to_string();
        let spared: &[u8] = except.map_or(&[], |id| id.as_bytes());
        let arguments = [keys.head().as_bytes(), spared, cursor, count.as_bytes()];
        swept(self.script(&SCRIPTS.sweep, Until::Replica(keys.head()), &[], &arguments).await?.value)
    }

    /// Returns where this write under this key has to arrive: a change of a session only if the store is told so.
    fn until<'a>(&self, write: &Write, key: &'a str) -> Until<'a> {
        if write.renews || self.replicas().policy().updates { Until::Replica(key) } else { Until::Server }
    }

    /// Runs a script by its hash, and sends its text to a server that does not know it yet.
    pub(super) async fn script(
        &self,
        source: &Source,
        until: Until<'_>,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Answer, StoreError> {
        let is_unknown = |error: &RedisError| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript);
        let by_hash = run("EVALSHA", &source.hash, keys, arguments);
        self.query_or(by_hash, until, is_unknown, || run("EVAL", &source.text, keys, arguments)).await
    }
}

/// Returns the keys of an entry and of the indexes beside it.
fn with_indexes<'a>(key: &'a str, indexes: &'a [String]) -> Vec<&'a str> {
    std::iter::once(key).chain(indexes.iter().map(String::as_str)).collect()
}

fn run(name: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
    let keys_len: usize = keys.iter().map(|key| key.len()).sum();
    let arguments_len: usize = arguments.iter().map(|argument| argument.len()).sum();
    // With room for all, and for the number of keys: growing by and by copies the value several times.
    let room = name.len() + script.len() + 20 + keys_len + arguments_len;
    let mut command = Cmd::with_capacity(3 + keys.len() + arguments.len(), room);
    command.arg(name).arg(script).arg(keys.len()).arg(keys);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

fn swept(answer: Value) -> Result<Swept, StoreError> {
    let (next, removed, ends): (Vec<u8>, u64, Vec<Vec<u8>>) =
        redis::from_redis_value(answer).map_err(|_| unexpected())?;
    let ends = ends.into_iter().map(|id| id.try_into().map(SessionId::from_bytes).map_err(|_| unexpected()));
    Ok(Swept { next, removed, ends: ends.collect::<Result<_, _>>()? })
}

/// Returns the outcome of a write, or an error if nobody can tell: after a first try without an answer, others may have
/// continued from it.
fn known(answer: &Answer) -> Result<Outcome, StoreError> {
    match outcome(&answer.value)? {
        Outcome::Refused | Outcome::Duplicate if answer.is_second => {
            Err(StoreError::unavailable("the connection broke during a write"))
        }
        outcome => Ok(outcome),
    }
}

fn outcome(answer: &Value) -> Result<Outcome, StoreError> {
    match answer {
        Value::Int(1) => Ok(Outcome::Done),
        Value::Int(0) => Ok(Outcome::Refused),
        Value::Int(2) => Ok(Outcome::NeedsTicket),
        Value::Int(-1) => Err(StoreError::corrupt("an entry was written by another release, or by someone else")),
        Value::Int(-2) => Err(StoreError::Timeout),
        Value::Int(-3) => Ok(Outcome::Duplicate),
        _ => Err(unexpected()),
    }
}

/// Returns the bound after all members of an id, in the order of an index.
pub(super) fn behind(id: &SessionId) -> Vec<u8> {
    let mut bound = vec![b'('];
    bound.extend_from_slice(id.as_bytes());
    bound.extend_from_slice(&[0xff; TICKET_LEN]);
    bound
}
