//! One cookie: is it good, and if not, why.

use std::io::Read;
use std::path::Path;

use secure_sessions::Timestamp;
use secure_sessions::store::SessionStore;
use secure_sessions_core::format::DEFAULT_LIMIT;
use secure_sessions_core::{
    Admitted, BucketPolicy, DataMap, Ending, Entry, KeyKind, Millis, Opened, Refusal, Sealer, SizeClasses, Sizes,
    Token, Verdict, decode,
};
use serde_json::{Map, Value, json};

use crate::arguments::{StoreArguments, TokenCommand};
use crate::cookie::CookieName;
use crate::error::Failure;
use crate::output::{Answer, when};
use crate::{keys, store};

/// The engine's default.
const GRACE: Millis = Millis::from_secs(60);

/// A cookie is at most 4096 bytes; more is read so that "too long" can be said.
const MOST: u64 = 64 * 1024;

pub(crate) async fn run(
    command: TokenCommand,
    keys: Option<&Path>,
    arguments: &StoreArguments,
    cookie_name: String,
) -> Result<Answer, Failure> {
    let TokenCommand::Inspect { file, data } = command;
    if data && arguments.store.is_none() {
        return Err(Failure::Usage(
            "--data needs the store, which vouches for a cookie: name it by --store".to_owned(),
        ));
    }
    let name = CookieName::parse(cookie_name);
    let sizes = Sizes::new(name.len(), DEFAULT_LIMIT, SizeClasses::default());
    let sizes = sizes.map_err(|error| Failure::Usage(error.to_string()))?;
    let sealer = Sealer::new(keys::core(keys)?, name.context(), sizes);
    let sealer = sealer.map_err(|error| Failure::Usage(error.to_string()))?;
    let value = read(&file)?;
    let mut report = Report::default();
    report.fact("length", value.len());
    let Some(opened) = open(&sealer, value.as_bytes(), &mut report) else { return Ok(report.answer()) };
    if arguments.store.is_none() {
        report.verdict("authentic", "We issued it. Name the store by --store to learn if it is still good.", false);
        return Ok(report.answer());
    }
    let store = store::open(arguments).await?;
    let entry = store.load(&opened.session_id()).await?;
    if let Some(newest) = judge(&sealer, opened, entry, &mut report)
        && data
    {
        report.data(&newest.data);
    }
    Ok(report.answer())
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { path: file.to_owned(), source };
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(MOST).read_to_string(&mut text).map_err(failed)?;
    }
    // A value has no `=`, and no attributes.
    let pair = text.trim().split(';').next().unwrap_or_default();
    let value = pair.rsplit('=').next().unwrap_or_default().trim();
    if value.is_empty() {
        return Err(Failure::Usage("the cookie is empty: give its value, or `name=value`".to_owned()));
    }
    Ok(value.to_owned())
}

fn open(sealer: &Sealer, value: &[u8], report: &mut Report) -> Option<Opened> {
    let token = match Token::decode(value) {
        Ok(token) => token,
        Err(error) => {
            report.verdict("not_a_token", &format!("This is no cookie of ours: {error}."), true);
            return None;
        }
    };
    let opened = match sealer.open(token) {
        Ok(opened) => opened,
        Err(refusal) => {
            let (name, text) = refused(&refusal, sealer);
            report.verdict(name, &text, true);
            return None;
        }
    };
    let keys = opened.sealed_under();
    report.fact("session", sealer.keyring().handle(&opened.session_id()).to_string());
    report.fact("generation", opened.generation());
    report.fact("seal_key", keys.seal.0.to_string());
    report.fact("fingerprint_key", keys.fingerprint.0.to_string());
    if let Some(subject) = opened.subject() {
        report.fact("subject", subject);
    }
    if !opened.is_timely(now(), None) {
        report.verdict("expired", "Its session's absolute deadline has passed.", true);
        return None;
    }
    Some(opened)
}

fn refused(refusal: &Refusal, sealer: &Sealer) -> (&'static str, String) {
    match refusal {
        Refusal::UnknownKey { kind, id } => {
            let kind = if *kind == KeyKind::Seal { "seal" } else { "fingerprint" };
            (
                "unknown_key",
                format!(
                    "It names the {kind} key {id}, which is not among these keys: compare `keys list` of the hosts."
                ),
            )
        }
        Refusal::Forged { id, .. } => {
            ("forged", format!("Somebody who has the key {id} made it: replace that key and mark it as compromised."))
        }
        Refusal::Unmarked(suspect) => (
            "unmarked",
            format!(
                "It is sealed by the key {}, and its mark is wrong: its end is damaged, or that key has leaked. Session {}.",
                suspect.key(),
                sealer.keyring().handle(&suspect.session_id())
            ),
        ),
        Refusal::Malformed => {
            ("malformed", "It is ours, but its content cannot be read: another release made it.".to_owned())
        }
        _ => (
            "not_authentic",
            "It is not authentic: it was altered, or made under another cookie name (--cookie-name) or other keys."
                .to_owned(),
        ),
    }
}

fn judge(sealer: &Sealer, opened: Opened, entry: Option<Entry>, report: &mut Report) -> Option<Admitted> {
    let policy = BucketPolicy { grace: GRACE };
    let bucket = match entry {
        Some(Entry::Bucket(bucket)) => bucket,
        Some(Entry::Tombstone(tombstone)) => {
            report.fact("ended_at", when(tombstone.ended_at));
            match tombstone.ending(now(), &policy) {
                Ending::Replayed(successor) => {
                    report.fact("renewed_as", sealer.keyring().handle(&successor).to_string());
                    report.verdict(
                        "replayed",
                        "Its session was renewed. Presenting it would end the renewed session: theft.",
                        true,
                    );
                }
                _ => report.verdict("ended", "Its session has ended, or was renewed a moment ago.", true),
            }
            return None;
        }
        None => {
            report.verdict("ended", "The store knows no such session: it has ended, or it is another store's.", true);
            return None;
        }
    };
    report.fact("newest_generation", bucket.generation);
    report.fact("created_at", when(bucket.created_at));
    report.fact("last_seen_at", when(bucket.last_seen_at));
    report.fact("expires_at", when(bucket.expires_at));
    match sealer.admit(&bucket, opened, now(), None, &policy) {
        Verdict::Current(newest) => {
            report.verdict("current", "It is good: the newest cookie of a live session.", false);
            Some(newest)
        }
        Verdict::Superseded(superseded) => {
            report.verdict("superseded", "It is good, and an answer would bring the newer cookie.", false);
            sealer.follow(&bucket, superseded.handoff_key(), now(), None).ok().map(|(newest, _)| newest)
        }
        refused => {
            let (name, text) = match refused {
                Verdict::Expired => ("expired", "Its session was idle for too long."),
                Verdict::Replayed => {
                    ("replayed", "Its session has moved on. Presenting it would end the session: theft.")
                }
                Verdict::Evicted => ("crowded_out", "Too many newer cookies were alive at once; it was pushed out."),
                Verdict::Unremembered => {
                    ("unremembered", "The store has lost the write of it: a failover, or a restored backup.")
                }
                Verdict::Critical { .. } => {
                    ("critical_entry", "A later release issued it, with an entry that this one does not know.")
                }
                _ => ("store_tampered", "Cookie and store contradict each other: somebody else writes to the store."),
            };
            report.verdict(name, text, true);
            None
        }
    }
}

fn now() -> Timestamp {
    secure_sessions::Clock::now(&secure_sessions::SystemClock)
}

/// The findings, in the order in which they were made.
#[derive(Default)]
struct Report {
    facts: Map<String, Value>,
    text: String,
    is_bad: bool,
}

impl Report {
    fn fact(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.text += &format!("{:<18}{shown}\n", name.replace('_', " "));
        self.facts.insert(name.to_owned(), value);
    }

    fn verdict(&mut self, name: &str, text: &str, is_bad: bool) {
        self.is_bad = is_bad;
        self.fact("verdict", name);
        self.facts.insert("explanation".to_owned(), json!(text));
        self.text += &format!("{text}\n");
    }

    fn data(&mut self, data: &DataMap) {
        let value = |bytes| decode::<Value>(bytes).unwrap_or_else(|_| json!("(a value that JSON cannot show)"));
        let values: Map<String, Value> = data.iter().map(|(key, bytes)| (key.to_owned(), value(bytes))).collect();
        let values = Value::Object(values);
        self.text += &format!("{values:#}\n");
        self.facts.insert("data".to_owned(), values);
    }

    fn answer(self) -> Answer {
        Answer { text: self.text, json: Value::Object(self.facts), is_bad: self.is_bad }
    }
}
