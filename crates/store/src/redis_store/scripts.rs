//! Lua scripts: each is one step on the server.
//!
//! A script touches the keys that it is given, all in one slot; on a single server also the index beside the entry. A
//! value's parts are described in [`value`](super::value), a record's in `secure_sessions_core::record`. Scripts compare
//! bytes with `==` alone: `<` goes by the server's `LC_COLLATE`.
//!
//! | code | meaning | scripts |
//! | --- | --- | --- |
//! | 1 | done, by this call or by the same one when it was sent before | all that write |
//! | 0 | the entry is not as expected: there is none, a tombstone, another revision, or (insert) any entry | insert, replace, remove, renew_into |
//! | 2 | the index of the new subject has to be written first; in a cluster only | replace |
//! | -1 | the entry cannot be read | replace, renew_into; remove of an expected revision |
//! | -2 | the ticket is too old: the write was held up on its way, and the index may have forgotten it | insert, replace |
//! | -3 | the new id is taken | renew_into |
//!
//! `remove` returns the code with what it removed, `end_some` and `sweep` a cursor and counts, `add` a ticket, and `tidy` a
//! count.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use secure_sessions_core::{Revision, SessionId, SubjectTag};

use super::connection::{Answer, Connection};
use super::error::unexpected;
use super::keys::Keys;
use super::value::{Member, TICKET_LEN, Ticket, Write};
use crate::StoreError;

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

-- The front of an entry, up to its subject: '' if there is none, false if it cannot be read.
local function front(key)
    local front = redis.pcall('GETRANGE', key, 0, 118)
    if front == '' then return '' end
    if type(front) ~= 'string' then return false end
    local kind = string.byte(front, 26)
    if string.byte(front, 25) ~= 1 or (kind ~= 1 and kind ~= 2) then return false end
    return front
end

local function hex(id) return string.format(string.rep('%02x', 16), string.byte(id, 1, 16)) end

local function ticket(front) return string.sub(front, 1, 16) end
local function nonce(front) return string.sub(front, 17, 24) end
local function is_bucket(front) return string.byte(front, 26) == 1 end
local function has_revision(front, expected) return string.sub(front, 44, 51) == expected end
local function expires_at(front) return string.sub(front, 68, 75) end
local function subject(front)
    if string.byte(front, 27) % 2 == 1 then return string.sub(front, 104, 119) end
    return ''
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

-- Adds a session to an index.
local function add(index, id, nonce, deadline)
    local ticket = struct.pack('>I8', now()) .. nonce
    keep(index, id .. ticket, deadline)
    return ticket
end

local function is_late(ticket)
    return ticket ~= NONE and now() - number(string.sub(ticket, 1, 8)) > TICKET_IS_GOOD
end
";

/// Adds a member to an index, and returns its ticket. KEYS: index. ARGV: id, nonce, the index's deadline.
const ADD: &str = "return add(KEYS[1], ARGV[1], ARGV[2], ARGV[3])";

/// Asserts that an index has a member. KEYS: index. ARGV: member, the index's deadline.
const KEEP: &str = r"
keep(KEYS[1], ARGV[1], ARGV[2])
return 1
";

/// Inserts an entry. KEYS: entry [, index]. ARGV: body, nonce, deadline, ticket, id, the index's deadline.
const INSERT: &str = r"
local there = front(KEYS[1])
if there ~= '' then return there and nonce(there) == ARGV[2] and 1 or 0 end
local ticket = ARGV[4]
if is_late(ticket) then return -2 end
if KEYS[2] then ticket = add(KEYS[2], ARGV[5], ARGV[2], ARGV[6]) end
put(KEYS[1], ticket, ARGV[1], ARGV[3])
return 1
";

/// The usual swap: the subject and the absolute deadline stay, and with them the place in the index. It runs before the shared
/// code, so that it defines no function. Every other swap is for [`REPLACE`], whose arguments these are.
const USUAL_REPLACE: &str = r"
local sub, old = string.sub, redis.call('GETRANGE', KEYS[1], 0, 118)
if sub(old, 44, 51) == ARGV[3] and sub(old, 68, 75) == ARGV[4] and sub(old, 25, 26) == '\1\1'
    and ARGV[5] == (string.byte(old, 27) % 2 == 1 and sub(old, 104, 119) or '') then
    redis.call('SET', KEYS[1], sub(old, 1, 16) .. ARGV[1], 'PXAT', ARGV[2])
    return ARGV[9] and sub(old, 1, 16) or 1
end
";

/// Swaps an entry. KEYS: entry [, index]. ARGV: body, deadline, expected revision, `expires_at`, subject or '', ticket or '',
/// id, the index's deadline [, anything]. With the last one, it returns the ticket of a session that keeps its place in place
/// of 1.
const REPLACE: &str = r"
local old, nonce_of_this = front(KEYS[1]), string.sub(ARGV[1], 1, 8)
if not old then return -1 end
if old == '' or not is_bucket(old) then return 0 end
if nonce(old) == nonce_of_this then return 1 end
if not has_revision(old, ARGV[3]) then return 0 end
local ticket = ticket(old)
if ARGV[5] == '' then
    ticket = NONE
elseif ARGV[5] ~= subject(old) or number(ARGV[4]) > number(expires_at(old)) then
    if KEYS[2] then
        ticket = add(KEYS[2], ARGV[7], nonce_of_this, ARGV[8])
    elseif ARGV[6] == '' then
        return 2
    elseif is_late(ARGV[6]) then
        return -2
    else
        ticket = ARGV[6]
    end
end
put(KEYS[1], ticket, ARGV[1], ARGV[2])
return ARGV[9] and ticket or 1
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
    removed = {1, '', ''}
else
    if not is_bucket(old) then return {nonce(old) == ARGV[2] and 1 or 0, '', ''} end
    if ARGV[4] ~= '' and not has_revision(old, ARGV[4]) then return {0} end
    if ARGV[5] ~= '' and nonce(old) ~= ARGV[5] then return {0} end
    removed = {1, subject(old), ticket(old)}
end
-- First the end: after a write that frees memory, a server whose memory is full takes the tombstone.
redis.call('DEL', KEYS[1])
if ARGV[1] ~= '' then put(KEYS[1], NONE, ARGV[1], ARGV[3]) end
return removed
";

/// Renews, on a single server. KEYS: new entry, old entry [, index]. ARGV: body, nonce, deadline, id, the index's deadline,
/// expected revision, the tombstone's body, its deadline.
const RENEW_INTO: &str = r"
local new = front(KEYS[1])
if new and new ~= '' and nonce(new) == ARGV[2] then return 1 end
local old = front(KEYS[2])
if not old then return -1 end
if old == '' or not is_bucket(old) or not has_revision(old, ARGV[6]) then return 0 end
if new ~= '' then return -3 end
local ticket = NONE
if KEYS[3] then ticket = add(KEYS[3], ARGV[4], ARGV[2], ARGV[5]) end
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

/// Ends, on a single server, the sessions of some subjects that the next members of an index lead to. KEYS: index. ARGV: the
/// prefix of an entry's key, an id to spare or '', the bound before the members, their number, the subjects. Returns the
/// next bound ('' at the end), the number of sessions ended, and the ids of tombstones.
const END_SOME: &str = r"
local members = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local wanted, removed, ends = {}, 0, {}
for at = 5, #ARGV do wanted[ARGV[at]] = true end
for _, member in ipairs(members) do
    local id = string.sub(member, 1, 16)
    local key = ARGV[1] .. hex(id) .. '}'
    local old = front(key)
    if old and old ~= '' and not is_bucket(old) then
        table.insert(ends, id)
    elseif id ~= ARGV[2] and old ~= '' and (not old or wanted[subject(old)]) then
        redis.call('DEL', key)
        redis.call('ZREM', KEYS[1], member)
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
        if old and subject(old) ~= '' then
            redis.call('ZREM', head .. hex(subject(old)) .. '}:subject', string.sub(old, 28, 43) .. ticket(old))
        end
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
    remove: Source,
    renew_into: Source,
    tidy: Source,
}

struct Source {
    text: String,
    hash: String,
}

static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| {
    let with_front = |front: &str, body: &str| {
        let text = format!("{front}{COMMON}{body}").replace("TICKET_IS_GOOD", TICKET_IS_GOOD).replace("STALE", STALE);
        let hash = Script::new(&text).get_hash().to_owned();
        Source { text, hash }
    };
    let source = |body: &str| with_front("", body);
    Scripts {
        end_some: source(END_SOME),
        sweep: source(SWEEP),
        add: source(ADD),
        keep: source(KEEP),
        insert: source(INSERT),
        replace: with_front(USUAL_REPLACE, REPLACE),
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

/// The outcome of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    /// A bucket was removed, with its place in its subject's index, if it had a subject.
    Bucket(Option<(SubjectTag, Ticket)>),
    /// There was no bucket, or one with another revision.
    Nothing,
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
        match self.script(&SCRIPTS.add, &[index], &arguments).await?.value {
            Value::BulkString(ticket) => ticket.try_into().map_err(|_| unexpected()),
            _ => Err(unexpected()),
        }
    }

    /// Asserts that an index has a member, for as long as its session may live.
    pub(super) async fn keep(&self, index: &str, member: &Member, deadline: u64) -> Result<(), StoreError> {
        let deadline = deadline.to_string();
        self.script(&SCRIPTS.keep, &[index], &[member, deadline.as_bytes()]).await.map(drop)
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
            [&write.body, &write.nonce, deadline.as_bytes(), ticket, write.id.as_bytes(), index_deadline.as_bytes()];
        known(&self.script(&SCRIPTS.insert, keys, &arguments).await?)
    }

    pub(super) async fn replace(
        &self,
        key: &str,
        index: Option<&str>,
        write: &Write,
        expected: Revision,
    ) -> Result<Outcome, StoreError> {
        let keys = [key, index.unwrap_or_default()];
        let keys = if index.is_some() { &keys[..] } else { &keys[..1] };
        known(&self.swap(keys, write, None, expected, false).await?)
    }

    /// Swaps an entry in a cluster. Also returns the place in the index of a session that has a subject.
    pub(super) async fn replace_on_node(
        &self,
        key: &str,
        write: &Write,
        ticket: Option<&Ticket>,
        expected: Revision,
    ) -> Result<(Outcome, Option<Ticket>), StoreError> {
        let answer = self.swap(&[key], write, ticket, expected, write.subject.is_some()).await?;
        if let Value::BulkString(ticket) = &answer.value {
            return Ok((Outcome::Done, Some(ticket.as_slice().try_into().map_err(|_| unexpected())?)));
        }
        Ok((known(&answer)?, None))
    }

    async fn swap(
        &self,
        keys: &[&str],
        write: &Write,
        ticket: Option<&Ticket>,
        expected: Revision,
        wants_ticket: bool,
    ) -> Result<Answer, StoreError> {
        let (deadline, index_deadline) = (write.deadline.to_string(), write.index_deadline.to_string());
        let expected = expected.get().to_be_bytes();
        let arguments: [&[u8]; 9] = [
            &write.body,
            deadline.as_bytes(),
            &expected,
            &write.expires_at,
            write.subject.as_ref().map_or(&[], |subject| subject.as_bytes()),
            ticket.map_or(&[], |ticket| ticket),
            write.id.as_bytes(),
            index_deadline.as_bytes(),
            b"1",
        ];
        let arguments = if wants_ticket { &arguments[..] } else { &arguments[..8] };
        self.script(&SCRIPTS.replace, keys, arguments).await
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
            tombstone.map_or(&[], |write| &write.body),
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
            &write.body,
            &write.nonce,
            deadline.as_bytes(),
            write.id.as_bytes(),
            index_deadline.as_bytes(),
            &expected,
            &tombstone.body,
            until.as_bytes(),
        ];
        known(&self.script(&SCRIPTS.renew_into, keys, &arguments).await?)
    }

    /// Removes those members from an index that are too old to be on their way to a session.
    pub(super) async fn tidy(&self, index: &str, members: &[Member]) -> Result<(), StoreError> {
        let members: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
        self.script(&SCRIPTS.tidy, &[index], &members).await.map(drop)
    }

    /// Ends the sessions of these subjects, save for one, that the next members of one subject's index lead to, on a single
    /// server.
    pub(super) async fn end_some(
        &self,
        keys: &Keys,
        index: &SubjectTag,
        subjects: &[SubjectTag],
        except: Option<&SessionId>,
        bound: &[u8],
        count: usize,
    ) -> Result<Swept, StoreError> {
        let (index, count) = (keys.subject(index), count.to_string());
        let spared: &[u8] = except.map_or(&[], |id| id.as_bytes());
        let mut arguments: Vec<&[u8]> = vec![keys.head().as_bytes(), spared, bound, count.as_bytes()];
        arguments.extend(subjects.iter().map(|subject| &subject.as_bytes()[..]));
        swept(self.script(&SCRIPTS.end_some, &[&index], &arguments).await?.value)
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
        swept(self.script(&SCRIPTS.sweep, &[], &arguments).await?.value)
    }

    /// Runs a script by its hash, and sends its text to a server that does not know it yet.
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
