//! Says whether a token is good, and if not, why: what a request with it would find, without the request.

use std::fmt;
use std::sync::Arc;

use secure_sessions_core::{
    Bucket, DataMap, DecodeError, Ending, Entry, Handle, HandoffError, KeyId, KeyKind, Opened, Refusal, SessionId,
    Suspect, Timestamp, Token, Tombstone, Verdict,
};
use secure_sessions_store::SessionStore;

use crate::error::SessionError;
use crate::manager::SessionManager;
use crate::remember::Sealing;
use crate::transport::Transport;

/// The outcome of a request with a token, without the request: see [`SessionManager::inspect`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The verdict on the token.
    pub verdict: TokenVerdict,
    /// The token's own statements; `None` if it does not open.
    pub token: Option<InspectedToken>,
    /// The store's entry of its session; `None` if the session has ended, or the store was not asked.
    pub session: Option<InspectedSession>,
    /// The data of the session's newest token; `None` unless the store vouches for the token.
    pub data: Option<DataMap>,
}

/// The statements of an opened token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedToken {
    /// The session that it belongs to.
    pub session: Handle,
    /// The number of this token within its session.
    pub generation: u32,
    /// The seal key that it was made with.
    pub seal_key: KeyId,
    /// The fingerprint key that it was made with.
    pub fingerprint_key: KeyId,
    /// The subject that it was issued for.
    pub subject: Option<String>,
}

/// The store's entry of a token's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InspectedSession {
    /// The number of its newest token.
    pub generation: u32,
    /// The time at which the session was created, or its subject logged in.
    pub created_at: Timestamp,
    /// The time at which the session was last seen, at most a [touch step](crate::Builder::touch_step) behind.
    pub last_seen_at: Timestamp,
    /// The session's absolute deadline.
    pub expires_at: Timestamp,
}

/// The verdict on a token. `Display` explains it in a sentence or two, for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenVerdict {
    /// It is the newest token of a live session.
    Current,
    /// It is good: the session has a newer token, which the response would bring.
    Superseded,
    /// We issued it, and it is within its own deadline. The store was not asked.
    Authentic,
    /// It is no token of ours.
    NotAToken(DecodeError),
    /// A later release issued it.
    LaterVersion {
        /// Its version.
        version: u8,
    },
    /// It names a key that is not in the keyring.
    UnknownKey {
        /// The kind of the key.
        kind: KeyKind,
        /// The key.
        key: KeyId,
    },
    /// It was altered, or made under another cookie name, or by somebody else.
    NotAuthentic,
    /// It is ours, and its content cannot be read.
    Malformed,
    /// Its end is damaged, or its seal key has leaked. The store, which would tell, was not asked.
    Unmarked {
        /// The seal key.
        key: KeyId,
        /// The session that it claims.
        session: Handle,
    },
    /// It is ours, and the holder damaged its last bytes.
    Damaged {
        /// The session.
        session: Handle,
    },
    /// It was made with one of our keys, and not by us.
    Forged {
        /// The kind of the key.
        kind: KeyKind,
        /// The key.
        key: KeyId,
    },
    /// Its session is past a deadline.
    Expired,
    /// It was issued before a time that [refuses](crate::SessionManager::set_not_before) all such tokens.
    NotBefore {
        /// The time.
        at: Timestamp,
    },
    /// Its session has ended, or is another store's.
    Ended {
        /// The time of the end, if the store still knows it.
        at: Option<Timestamp>,
    },
    /// Its session ended within the last grace, so the request counts as under way then.
    JustEnded {
        /// The time of the end.
        at: Timestamp,
    },
    /// Its session got another id within the last grace, so the request counts as under way then.
    JustRenewed {
        /// The time of the renewal.
        at: Timestamp,
        /// The session under its new id.
        successor: Handle,
    },
    /// Its session has moved on: somebody holds a copy. Presenting it ends the session, unless
    /// [`on_replay`](crate::Builder::on_replay) says otherwise, or the session is bound to another client or device than the
    /// request's.
    Replayed {
        /// The session's new id, if it was renewed.
        successor: Option<Handle>,
    },
    /// Too many newer tokens of its session were alive at once.
    CrowdedOut,
    /// The store has lost the write of it.
    Unremembered,
    /// A later release issued it, with an entry that this one must not ignore.
    CriticalEntry {
        /// The number of the entry.
        key: u64,
    },
    /// Token and store contradict each other: somebody else writes to the store.
    StoreTampered,
}

impl TokenVerdict {
    /// Returns the verdict's stable name, in snake case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Authentic => "authentic",
            Self::NotAToken(_) => "not_a_token",
            Self::LaterVersion { .. } => "later_version",
            Self::UnknownKey { .. } => "unknown_key",
            Self::NotAuthentic => "not_authentic",
            Self::Malformed => "malformed",
            Self::Unmarked { .. } => "unmarked",
            Self::Damaged { .. } => "damaged",
            Self::Forged { .. } => "forged",
            Self::Expired => "expired",
            Self::NotBefore { .. } => "not_before",
            Self::Ended { .. } => "ended",
            Self::JustEnded { .. } => "just_ended",
            Self::JustRenewed { .. } => "just_renewed",
            Self::Replayed { .. } => "replayed",
            Self::CrowdedOut => "crowded_out",
            Self::Unremembered => "unremembered",
            Self::CriticalEntry { .. } => "critical_entry",
            Self::StoreTampered => "store_tampered",
        }
    }

    /// Returns the [name](crate::Event::name) of the event that a request with the token raises for the verdict, to look for in
    /// a log, or `None` if it raises none.
    #[must_use]
    pub fn event(&self) -> Option<&'static str> {
        match self {
            Self::Superseded => Some("handed_off"),
            Self::LaterVersion { .. } => Some("unknown_key"),
            Self::NotBefore { .. } => Some("expired"),
            Self::UnknownKey { .. }
            | Self::Forged { .. }
            | Self::Expired
            | Self::Ended { .. }
            | Self::Replayed { .. }
            | Self::CrowdedOut
            | Self::Unremembered
            | Self::CriticalEntry { .. }
            | Self::StoreTampered => Some(self.name()),
            Self::Current
            | Self::Authentic
            | Self::NotAToken(_)
            | Self::NotAuthentic
            | Self::Malformed
            | Self::Unmarked { .. }
            | Self::Damaged { .. }
            | Self::JustEnded { .. }
            | Self::JustRenewed { .. } => None,
        }
    }

    /// Returns `true` if a request with the token gets its session; for [`Authentic`](Self::Authentic), as far as the token
    /// itself can tell.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Current | Self::Superseded | Self::Authentic)
    }
}

impl fmt::Display for TokenVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "It is good: the newest cookie of a live session.",
            Self::Superseded => "It is good, and a response would bring the newer cookie.",
            Self::Authentic => "We issued it. Whether it is still good, the store knows.",
            Self::NotAToken(error) => return write!(f, "It is no cookie of ours: {error}."),
            Self::LaterVersion { version } => {
                return write!(f, "A later release issued it, in version {version} of the format.");
            }
            Self::UnknownKey { kind, key } => {
                return write!(f, "It names the {kind} key {key}, which is not among these keys: compare those of the hosts.");
            }
            Self::NotAuthentic => "It is not authentic: it was altered, or made under another cookie name or other keys.",
            Self::Malformed => "It is ours, but its content cannot be read: another release made it.",
            Self::Unmarked { key, .. } => {
                return write!(
                    f,
                    "It is sealed by the key {key}, and its mark is wrong: its end is damaged, or that key has leaked. The \
                     store knows which."
                );
            }
            Self::Damaged { .. } => "It is ours, and its last characters were altered. It is no sign of a leaked key.",
            Self::Forged { kind, key } => {
                return write!(
                    f,
                    "Somebody who has the {kind} key {key} made it, or damaged the cookie of a session that has ended: replace \
                     that key, and mark it as compromised."
                );
            }
            Self::Expired => "Its session is past a deadline.",
            Self::NotBefore { .. } => "It was issued before the time from which on cookies are accepted (not_before).",
            Self::Ended { at: Some(_) } => "Its session has ended.",
            Self::Ended { at: None } => "The store knows no such session: it has ended, or it is another store's.",
            Self::JustEnded { .. } => "Its session has ended a moment ago.",
            Self::JustRenewed { .. } => "Its session got another id a moment ago: the browser should have its new cookie.",
            Self::Replayed { successor } => {
                let (moved, session) = match successor {
                    Some(_) => ("was renewed, and has moved on", "the renewed session"),
                    None => ("has moved on", "the session"),
                };
                return write!(
                    f,
                    "Its session {moved}, so somebody holds a copy: theft. Presenting it ends {session}, unless `on_replay` says \
                     otherwise, or the session is bound to another client or device."
                );
            }
            Self::CrowdedOut => "Too many newer cookies of its session were alive at once, and it was pushed out.",
            Self::Unremembered => "The store has lost the write of it: a failover, or a restored backup.",
            Self::CriticalEntry { key } => {
                return write!(f, "A later release issued it, with the entry {key} that this one must not ignore.");
            }
            Self::StoreTampered => "Cookie and store contradict each other: somebody else writes to the store.",
        })
    }
}

impl SessionManager {
    /// Says whether a token is good, and if not, why: what a request would find now that brings it and no other. Nothing is
    /// changed, no session ends, and no event is raised. `value` is the cookie's value, or the bearer token.
    ///
    /// A [binding](crate::Builder::bind_to) to the client or the device is not judged, since it takes the request.
    ///
    /// ```
    /// use secure_sessions::{Transport, testing};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), secure_sessions::SessionError> {
    /// let (manager, _) = testing::manager();
    /// let cookie = testing::session(&manager).login("alice").cookie().await?;
    /// let (_, value) = cookie.split_once('=').unwrap_or_default();
    /// assert!(manager.inspect(Transport::Cookie, value).await?.verdict.is_good());
    /// manager.revoke_subject("alice").await?;
    /// assert_eq!(manager.inspect(Transport::Cookie, value).await?.verdict.name(), "ended");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn inspect(&self, transport: Transport, value: &str) -> Result<Inspection, SessionError> {
        let sealer = Arc::clone(&self.sealer(transport));
        let (mut found, opened) = match open(&sealer, value) {
            Ok(opened) => (Inspection::of_token(&sealer, &opened), opened),
            Err(Unopened::Suspect(suspect)) => {
                let entry = self.store().load(&suspect.session_id()).await.map_err(SessionError::Store)?;
                let is_damaged = matches!(&entry, Some(Entry::Bucket(bucket)) if suspect.is_damaged(bucket));
                return Ok(Inspection::of(if is_damaged {
                    TokenVerdict::Damaged { session: sealer.keyring().handle(&suspect.session_id()) }
                } else {
                    TokenVerdict::Forged { kind: KeyKind::Seal, key: suspect.key() }
                }));
            }
            Err(Unopened::Verdict(verdict)) => return Ok(Inspection::of(verdict)),
        };
        let kept = self.store().not_before().await.map_err(SessionError::Store)?;
        let not_before = kept.max(self.not_before());
        found.verdict = match self.verdict_by_times(&opened, not_before) {
            Some(verdict) => verdict,
            None => match self.store().load(&opened.session_id()).await.map_err(SessionError::Store)? {
                Some(Entry::Bucket(bucket)) => self.judge(&sealer, opened, bucket, not_before, &mut found),
                Some(Entry::Tombstone(tombstone)) => self.judge_ended(&sealer, &tombstone),
                None => TokenVerdict::Ended { at: None },
            },
        };
        Ok(found)
    }

    /// Says of a token what the keys alone can tell: whether we issued it, and within which session. The store is not asked.
    #[must_use]
    pub fn inspect_offline(&self, transport: Transport, value: &str) -> Inspection {
        let sealer = self.sealer(transport);
        match open(&sealer, value) {
            Ok(opened) => {
                let verdict = self.verdict_by_times(&opened, self.not_before()).unwrap_or(TokenVerdict::Authentic);
                Inspection { verdict, ..Inspection::of_token(&sealer, &opened) }
            }
            Err(Unopened::Suspect(suspect)) => Inspection::of(TokenVerdict::Unmarked {
                key: suspect.key(),
                session: sealer.keyring().handle(&suspect.session_id()),
            }),
            Err(Unopened::Verdict(verdict)) => Inspection::of(verdict),
        }
    }

    fn verdict_by_times(&self, opened: &Opened, not_before: Option<Timestamp>) -> Option<TokenVerdict> {
        if !opened.is_timely(self.now(), None) {
            return Some(TokenVerdict::Expired);
        }
        not_before.filter(|_| !opened.is_timely(self.now(), not_before)).map(|at| TokenVerdict::NotBefore { at })
    }

    fn judge(
        &self,
        sealer: &Sealing,
        opened: Opened,
        bucket: Bucket,
        not_before: Option<Timestamp>,
        found: &mut Inspection,
    ) -> TokenVerdict {
        let (now, policy) = (self.now(), &self.times().bucket);
        let bucket = bucket.corrected(now, policy).unwrap_or(bucket);
        found.session = Some(InspectedSession {
            generation: bucket.generation,
            created_at: bucket.created_at,
            last_seen_at: bucket.last_seen_at,
            expires_at: bucket.expires_at,
        });
        match sealer.admit(&bucket, opened, now, not_before, policy) {
            Verdict::Current(newest) => {
                found.data = Some(newest.data);
                TokenVerdict::Current
            }
            Verdict::Superseded(superseded) => {
                match sealer.follow(&bucket, superseded.handoff_key(), now, not_before) {
                    Ok((newest, _)) => {
                        found.data = Some(newest.data);
                        TokenVerdict::Superseded
                    }
                    Err(HandoffError::Expired) => TokenVerdict::Expired,
                    Err(HandoffError::UnknownKey { kind, id: key }) => TokenVerdict::UnknownKey { kind, key },
                    Err(HandoffError::Critical { key }) => TokenVerdict::CriticalEntry { key },
                    Err(_) => TokenVerdict::StoreTampered,
                }
            }
            Verdict::Expired => TokenVerdict::Expired,
            Verdict::Replayed => TokenVerdict::Replayed { successor: None },
            Verdict::Evicted => TokenVerdict::CrowdedOut,
            Verdict::Unremembered => TokenVerdict::Unremembered,
            Verdict::Critical { key } => TokenVerdict::CriticalEntry { key },
            _ => TokenVerdict::StoreTampered,
        }
    }

    fn judge_ended(&self, sealer: &Sealing, tombstone: &Tombstone) -> TokenVerdict {
        let handle = |id: &SessionId| sealer.keyring().handle(id);
        let at = tombstone.ended_at;
        match (tombstone.ending(self.now(), &self.times().bucket), &tombstone.successor) {
            (Ending::Recent, Some(successor)) => TokenVerdict::JustRenewed { at, successor: handle(successor) },
            (Ending::Recent, None) => TokenVerdict::JustEnded { at },
            (Ending::Replayed(successor), _) => TokenVerdict::Replayed { successor: Some(handle(&successor)) },
            (Ending::Past, _) => TokenVerdict::Ended { at: Some(at) },
        }
    }
}

impl Inspection {
    fn of(verdict: TokenVerdict) -> Self {
        Self { verdict, token: None, session: None, data: None }
    }

    fn of_token(sealer: &Sealing, opened: &Opened) -> Self {
        let keys = opened.sealed_under();
        let token = InspectedToken {
            session: sealer.keyring().handle(&opened.session_id()),
            generation: opened.generation(),
            seal_key: keys.seal.0,
            fingerprint_key: keys.fingerprint.0,
            subject: opened.subject(),
        };
        Self { token: Some(token), ..Self::of(TokenVerdict::Authentic) }
    }
}

/// The reason why there is no opened token.
enum Unopened {
    Verdict(TokenVerdict),
    /// Its bucket tells a damaged token from a forged one.
    Suspect(Suspect),
}

fn open(sealer: &Sealing, value: &str) -> Result<Opened, Unopened> {
    let token = Token::decode(value.as_bytes()).map_err(|error| {
        Unopened::Verdict(match error {
            DecodeError::LaterVersion { version } => TokenVerdict::LaterVersion { version },
            error => TokenVerdict::NotAToken(error),
        })
    })?;
    sealer.open(token).map_err(|refusal| {
        Unopened::Verdict(match refusal {
            Refusal::Unmarked(suspect) => return Unopened::Suspect(suspect),
            Refusal::UnknownKey { kind, id: key } => TokenVerdict::UnknownKey { kind, key },
            Refusal::Forged { kind, id: key } => TokenVerdict::Forged { kind, key },
            Refusal::Malformed => TokenVerdict::Malformed,
            _ => TokenVerdict::NotAuthentic,
        })
    })
}
