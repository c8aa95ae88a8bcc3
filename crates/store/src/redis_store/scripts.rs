//! The steps that are one step on the server, as Lua scripts.
//!
//! A script touches the keys that it is given, all in one slot; on a single server also the index beside the entry. Where
//! a record's parts are is said in `secure_sessions_core::record`.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use secure_sessions_core::{Revision, SessionId, SubjectTag};

use super::connection::{Answer, Connection};
use super::error::unexpected;
use super::keys::Keys;
use super::value::{Member, TICKET_LEN, Ticket, Write};
use crate::StoreError;

/// A ticket is good for this long: what was held up for longer, on its way or in a stopped server, is not written.
/// Far less than what [`STALE`] spares, so that clocks may differ by half an hour.
const TICKET_IS_GOOD: &str = "600000";
/// Members of an index that are older, and whose session is not there, are left from sessions that have ended.
const STALE: &str = "3600000";

/// What all of them share.
const COMMON: &str = r"
local NONE = string.rep('\0', 16)

local function now()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A number of eight bytes that begins at a byte of a record.
local function number(record, at) return (struct.unpack('>I8', string.sub(record, at, at + 7))) end

-- The front of an entry, up to its subject: '' if there is none, false if it is not ours.
local function front(key)
    local front = redis.call('GETRANGE', key, 0, 94)
    if front == '' then return '' end
    local kind = string.byte(front, 2)
    if string.byte(front, 1) ~= 1 or (kind ~= 1 and kind ~= 2) then return false end
    return front
end

local function hex(bytes)
    return (string.gsub(bytes, '.', function(byte) return string.format('%02x', string.byte(byte)) end))
end

local function is_bucket(front) return string.byte(front, 2) == 1 end
local function has_revision(front, expected) return string.sub(front, 20, 27) == expected end
local function subject(front)
    if string.byte(front, 3) % 2 == 1 then return string.sub(front, 80, 95) end
    return ''
end
local function expires_at(front) return number(front, 44) end

local function nonce(key) return redis.call('GETRANGE', key, -24, -17) end
local function ticket(key) return redis.call('GETRANGE', key, -16, -1) end

local function put(key, record, nonce, ticket, deadline)
    redis.call('SET', key, record .. nonce .. ticket, 'PXAT', deadline)
end

-- Adds a session to an index, and keeps the index for as long as the session may live.
local function add(index, id, nonce, deadline)
    local ticket = struct.pack('>I8', now()) .. nonce
    redis.call('ZADD', index, 0, id .. ticket)
    local left = redis.call('PTTL', index)
    if left < 0 or now() + left < tonumber(deadline) then redis.call('PEXPIREAT', index, deadline) end
    return ticket
end

local function is_late(ticket)
    return ticket ~= NONE and now() - number(ticket, 1) > TICKET_IS_GOOD
end
";

/// KEYS: index. ARGV: id, nonce, the index's deadline.
const ADD: &str = "return add(KEYS[1], ARGV[1], ARGV[2], ARGV[3])";

/// KEYS: entry [, index]. ARGV: record, nonce, deadline, ticket, id, the index's deadline.
const INSERT: &str = r"
local there = nonce(KEYS[1])
if there ~= '' then return there == ARGV[2] and 1 or 0 end
local ticket = ARGV[4]
if is_late(ticket) then return -2 end
if KEYS[2] then ticket = add(KEYS[2], ARGV[5], ARGV[2], ARGV[6]) end
put(KEYS[1], ARGV[1], ARGV[2], ticket, ARGV[3])
return 1
";

/// KEYS: entry [, index]. ARGV: record, nonce, deadline, ticket or '', id, the index's deadline, expected revision.
const REPLACE: &str = r"
local old = front(KEYS[1])
if not old then return -1 end
if old == '' or not is_bucket(old) then return 0 end
if nonce(KEYS[1]) == ARGV[2] then return 1 end
if not has_revision(old, ARGV[7]) then return 0 end
local new = string.sub(ARGV[1], 1, 95)
local ticket = ticket(KEYS[1])
if subject(new) == '' then
    ticket = NONE
elseif subject(new) ~= subject(old) or expires_at(new) > expires_at(old) then
    if KEYS[2] then
        ticket = add(KEYS[2], ARGV[5], ARGV[2], ARGV[6])
    elseif ARGV[4] == '' then
        return 2
    elseif is_late(ARGV[4]) then
        return -2
    else
        ticket = ARGV[4]
    end
end
put(KEYS[1], ARGV[1], ARGV[2], ticket, ARGV[3])
return 1
";

/// KEYS: entry. ARGV: the tombstone's record or '', nonce, deadline, expected revision or '', expected nonce or ''.
const REMOVE: &str = r"
local old = front(KEYS[1])
if not old then return {-1} end
if old == '' then return {0} end
if not is_bucket(old) then return {nonce(KEYS[1]) == ARGV[2] and 1 or 0, '', ''} end
if ARGV[4] ~= '' and not has_revision(old, ARGV[4]) then return {0} end
if ARGV[5] ~= '' and nonce(KEYS[1]) ~= ARGV[5] then return {0} end
local member = {1, subject(old), ticket(KEYS[1])}
if ARGV[1] == '' then
    redis.call('DEL', KEYS[1])
else
    put(KEYS[1], ARGV[1], ARGV[2], NONE, ARGV[3])
end
return member
";

/// Of a single server. KEYS: new entry, old entry [, index]. ARGV: record, nonce, deadline, id, the index's deadline,
/// expected revision, the tombstone's record, its deadline.
const SUCCEED: &str = r"
if nonce(KEYS[1]) == ARGV[2] then return 1 end
local old = front(KEYS[2])
if not old then return -1 end
if old == '' or not is_bucket(old) or not has_revision(old, ARGV[6]) then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then return -3 end
local ticket = NONE
if KEYS[3] then ticket = add(KEYS[3], ARGV[4], ARGV[2], ARGV[5]) end
put(KEYS[1], ARGV[1], ARGV[2], ticket, ARGV[3])
put(KEYS[2], ARGV[7], ARGV[2], NONE, ARGV[8])
return 1
";

/// KEYS: index. ARGV: members whose sessions are not there.
const TIDY: &str = r"
local now, removed = now(), 0
for _, member in ipairs(ARGV) do
    if number(member, 17) + STALE < now then removed = removed + redis.call('ZREM', KEYS[1], member) end
end
return removed
";

/// Of a single server: ends all sessions of subjects, in one step. KEYS: indexes. ARGV: what an entry's key begins with,
/// an id to spare or '', the subjects of the indexes.
const END_SUBJECTS: &str = r"
local wanted, removed = {}, 0
for at = 3, #ARGV do wanted[ARGV[at]] = true end
for _, index in ipairs(KEYS) do
    for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
        local id = string.sub(member, 1, 16)
        local key = ARGV[1] .. hex(id) .. '}'
        local old = front(key)
        if id ~= ARGV[2] and old and old ~= '' and is_bucket(old) and wanted[subject(old)] then
            redis.call('DEL', key)
            redis.call('ZREM', index, member)
            removed = removed + 1
        end
    end
end
return removed
";

/// Of a single server: ends the sessions that one step of `SCAN` finds. ARGV: what an entry's key begins with, an id to
/// spare or '', cursor, keys to look at. Returns the next cursor, how many it ended, and the ids of tombstones.
const SWEEP: &str = r"
local found = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[1] .. '*}', 'COUNT', ARGV[4])
local removed, ends = 0, {}
for _, key in ipairs(found[2]) do
    local old = front(key)
    if old and old ~= '' then
        local id = string.sub(old, 4, 19)
        if not is_bucket(old) then
            table.insert(ends, id)
        elseif id ~= ARGV[2] then
            local member = id .. ticket(key)
            redis.call('DEL', key)
            if subject(old) ~= '' then redis.call('ZREM', ARGV[1] .. hex(subject(old)) .. '}:subject', member) end
            removed = removed + 1
        end
    end
end
return {found[1], removed, ends}
";

struct Scripts {
    end_subjects: Source,
    sweep: Source,
    add: Source,
    insert: Source,
    replace: Source,
    remove: Source,
    succeed: Source,
    tidy: Source,
}

struct Source {
    text: String,
    hash: String,
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let source = |body: &str| {
        let text = format!("{COMMON}{body}").replace("TICKET_IS_GOOD", TICKET_IS_GOOD).replace("STALE", STALE);
        let hash = Script::new(&text).get_hash().to_owned();
        Source { text, hash }
    };
    Scripts {
        end_subjects: source(END_SUBJECTS),
        sweep: source(SWEEP),
        add: source(ADD),
        insert: source(INSERT),
        replace: source(REPLACE),
        remove: source(REMOVE),
        succeed: source(SUCCEED),
        tidy: source(TIDY),
    }
});

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there.
    Done,
    /// The entry is not as expected: nothing was written.
    Refused,
    /// The index has to be written before: nothing was written.
    NeedsTicket,
    /// The new id is taken: nothing was written.
    Duplicate,
}

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    /// There was a bucket; its place in its subject's index, if it had a subject.
    Bucket(Option<(SubjectTag, Ticket)>),
    /// There was none, or one with another revision.
    Nothing,
}

/// What a step through all sessions came upon.
pub(super) struct Swept {
    /// The cursor of the next step; 0 after the last one.
    pub(super) next: u64,
    /// Sessions that it ended.
    pub(super) removed: u64,
    /// Sessions that had ended before: their tombstones.
    pub(super) ends: Vec<SessionId>,
}

const NO_TICKET: Ticket = [0; TICKET_LEN];

impl Connection {
    pub(super) async fn add(&self, index: &str, write: &Write) -> Result<Ticket, StoreError> {
        let deadline = write.index_deadline.to_string();
        let arguments: [&[u8]; 3] = [write.id.as_bytes(), &write.nonce, deadline.as_bytes()];
        match self.script(&SCRIPTS.add, &[index], &arguments).await?.value {
            Value::BulkString(ticket) => ticket.try_into().map_err(|_| unexpected()),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn insert(
        &self,
        key: &str,
        write: &Write,
        ticket: Option<&Ticket>,
    ) -> Result<Outcome, StoreError> {
        self.insert_with(&[key], write, ticket.unwrap_or(&NO_TICKET)).await
    }

    pub(super) async fn insert_indexed(&self, key: &str, index: &str, write: &Write) -> Result<Outcome, StoreError> {
        self.insert_with(&[key, index], write, &NO_TICKET).await
    }

    async fn insert_with(&self, keys: &[&str], write: &Write, ticket: &Ticket) -> Result<Outcome, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let arguments: [&[u8]; 6] =
            [&write.record, &write.nonce, deadline.as_bytes(), ticket, write.id.as_bytes(), index_deadline.as_bytes()];
        known(&self.script(&SCRIPTS.insert, keys, &arguments).await?)
    }

    pub(super) async fn replace(
        &self,
        key: &str,
        index: Option<&str>,
        write: &Write,
        ticket: Option<&Ticket>,
        expected: Revision,
    ) -> Result<Outcome, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let expected = expected.get().to_be_bytes();
        let arguments: [&[u8]; 7] = [
            &write.record,
            &write.nonce,
            deadline.as_bytes(),
            ticket.map_or(&[], |ticket| ticket),
            write.id.as_bytes(),
            index_deadline.as_bytes(),
            &expected,
        ];
        let keys = [key, index.unwrap_or_default()];
        let keys = if index.is_some() { &keys[..] } else { &keys[..1] };
        known(&self.script(&SCRIPTS.replace, keys, &arguments).await?)
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

    /// Ends the bucket that this write has left, and no other.
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
            tombstone.map_or(&[], |write| &write.record),
            tombstone.map_or(&[], |write| &write.nonce),
            deadline.as_bytes(),
            expected.as_ref().map_or(&[], |revision| revision),
            nonce,
        ];
        let Value::Array(answer) = self.script(&SCRIPTS.remove, &[key], &arguments).await?.value else {
            return Err(unexpected());
        };
        let [code, place @ ..] = answer.as_slice() else { return Err(unexpected()) };
        match (outcome(code)?, place) {
            (Outcome::Done, [Value::BulkString(subject), Value::BulkString(ticket)]) => {
                let subject: Option<[u8; 16]> = subject.as_slice().try_into().ok();
                let ticket: Option<Ticket> = ticket.as_slice().try_into().ok();
                Ok(Removed::Bucket(subject.map(SubjectTag::from_bytes).zip(ticket)))
            }
            (Outcome::Refused, _) => Ok(Removed::Nothing),
            _ => Err(unexpected()),
        }
    }

    /// The whole renewal, on a single server.
    pub(super) async fn succeed(
        &self,
        keys: &[&str],
        write: &Write,
        expected: Revision,
        tombstone: &Write,
    ) -> Result<Outcome, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let (expected, until) = (expected.get().to_be_bytes(), tombstone.deadline.to_string());
        let arguments: [&[u8]; 8] = [
            &write.record,
            &write.nonce,
            deadline.as_bytes(),
            write.id.as_bytes(),
            index_deadline.as_bytes(),
            &expected,
            &tombstone.record,
            until.as_bytes(),
        ];
        known(&self.script(&SCRIPTS.succeed, keys, &arguments).await?)
    }

    /// Removes those members from an index that are too old to be on their way to a session.
    pub(super) async fn tidy(&self, index: &str, members: &[Member]) -> Result<(), StoreError> {
        let members: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
        self.script(&SCRIPTS.tidy, &[index], &members).await.map(drop)
    }

    /// Ends all sessions of these subjects save for one, on a single server. How many there were.
    pub(super) async fn end_subjects(
        &self,
        keys: &Keys,
        subjects: &[SubjectTag],
        except: Option<&SessionId>,
    ) -> Result<u64, StoreError> {
        let indexes: Vec<String> = subjects.iter().map(|subject| keys.subject(subject)).collect();
        let indexes: Vec<&str> = indexes.iter().map(String::as_str).collect();
        let mut arguments: Vec<&[u8]> = vec![keys.head().as_bytes(), except.map_or(&[], |id| id.as_bytes())];
        arguments.extend(subjects.iter().map(|subject| &subject.as_bytes()[..]));
        match self.script(&SCRIPTS.end_subjects, &indexes, &arguments).await?.value {
            Value::Int(removed) => u64::try_from(removed).map_err(|_| unexpected()),
            _ => Err(unexpected()),
        }
    }

    /// Ends the sessions in one step of `SCAN` save for one, on a single server.
    pub(super) async fn sweep(
        &self,
        keys: &Keys,
        except: Option<&SessionId>,
        cursor: u64,
        count: usize,
    ) -> Result<Swept, StoreError> {
        let (cursor, count) = (cursor.to_string(), count.to_string());
        let spared: &[u8] = except.map_or(&[], |id| id.as_bytes());
        let arguments: [&[u8]; 4] = [keys.head().as_bytes(), spared, cursor.as_bytes(), count.as_bytes()];
        let answer = self.script(&SCRIPTS.sweep, &[], &arguments).await?.value;
        let (next, removed, ends): (u64, u64, Vec<Vec<u8>>) =
            redis::from_redis_value(answer).map_err(|_| unexpected())?;
        let ends = ends.into_iter().map(|id| id.try_into().map(SessionId::from_bytes).map_err(|_| unexpected()));
        Ok(Swept { next, removed, ends: ends.collect::<Result<_, _>>()? })
    }

    /// By its hash; a server that does not know it yet is told.
    async fn script(&self, source: &Source, keys: &[&str], arguments: &[&[u8]]) -> Result<Answer, StoreError> {
        let command = |name: &str, script: &str| {
            let mut command = Cmd::new();
            command.arg(name).arg(script).arg(keys.len()).arg(keys);
            for argument in arguments {
                command.arg(*argument);
            }
            command
        };
        let is_unknown = |error: &RedisError| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript);
        self.query_or(command("EVALSHA", &source.hash), is_unknown, || command("EVAL", &source.text)).await
    }
}

/// What became of a write, if anyone can tell: where a first try went unheard, others may have gone on from it.
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
        Value::Int(-1) => Err(StoreError::corrupt("an entry is not of this release, or not ours")),
        Value::Int(-2) => Err(StoreError::Timeout),
        Value::Int(-3) => Ok(Outcome::Duplicate),
        _ => Err(unexpected()),
    }
}

/// A member's place in the order of an index: the first that can follow all of an id.
pub(super) fn behind(id: &SessionId) -> Vec<u8> {
    let mut bound = vec![b'('];
    bound.extend_from_slice(id.as_bytes());
    bound.extend_from_slice(&[0xff; TICKET_LEN]);
    bound
}
