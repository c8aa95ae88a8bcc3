//! One cookie: is it good, and if not, why. The engine judges it; this prints what it says.

use std::io::{IsTerminal, Read};
use std::path::Path;

use secure_sessions::{DataMap, Inspection, MemoryStore, SessionManager, TokenVerdict};
use secure_sessions_core::decode;
use serde_json::{Map, Value, json};

use crate::arguments::{StoreArguments, TokenCommand};
use crate::cookie::CookieName;
use crate::error::Failure;
use crate::output::{Answer, plain, when};
use crate::{keys, store};

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
    let (keyring, name) = (keys::keyring(keys)?, CookieName::parse(cookie_name));
    let value = read(&file, name.context())?;
    let found = if arguments.store.is_none() {
        // The store is not asked, so any will do.
        let manager = name.apply(SessionManager::builder(keyring, MemoryStore::new())).build()?;
        manager.inspect_offline(name.transport(), &value)
    } else {
        let manager = name.apply(store::open(arguments).await?.builder(keyring)).build()?;
        manager.inspect(name.transport(), &value).await?
    };
    Ok(answer(&found, value.len(), data))
}

/// Reads a cookie: its value, `name=value`, or a header with it.
fn read(file: &Path, name: &str) -> Result<String, Failure> {
    let failed = |source| Failure::File { path: file.to_owned(), source };
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let input = std::io::stdin();
        if input.is_terminal() {
            eprintln!("secure-sessions: paste the cookie, then press Enter and Ctrl-D");
        }
        input.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let value = value_in(&text, name);
    if value.is_empty() {
        return Err(Failure::Usage("the cookie is empty: give its value, or `name=value`".to_owned()));
    }
    Ok(value.to_owned())
}

/// Returns the value of the pair with this name, or else of the first one, which may be a value alone.
fn value_in<'a>(text: &'a str, name: &str) -> &'a str {
    let mut pairs = text.split(|letter: char| letter == ';' || letter.is_whitespace());
    let named = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    // A value has neither `=` nor blanks, and no attributes.
    let first = text.trim().split(';').next().unwrap_or_default();
    named.unwrap_or_else(|| first.rsplit(['=', ' ']).next().unwrap_or_default()).trim()
}

fn answer(found: &Inspection, length: usize, with_data: bool) -> Answer {
    let mut report = Report::default();
    report.fact("length", length);
    if let Some(token) = &found.token {
        report.fact("session", token.session.to_string());
        report.fact("generation", token.generation);
        report.fact("seal_key", token.seal_key.to_string());
        report.fact("fingerprint_key", token.fingerprint_key.to_string());
        if let Some(subject) = &token.subject {
            report.fact("subject", subject.as_str());
        }
    }
    if let Some(session) = &found.session {
        report.fact("newest_generation", session.generation);
        report.fact("created_at", when(session.created_at));
        report.fact("last_seen_at", when(session.last_seen_at));
        report.fact("expires_at", when(session.expires_at));
    }
    let verdict = &found.verdict;
    match verdict {
        TokenVerdict::Unmarked { session, .. } | TokenVerdict::Damaged { session } => {
            report.fact("session", session.to_string());
        }
        TokenVerdict::NotBefore { at } => report.fact("not_before", when(*at)),
        TokenVerdict::Ended { at: Some(at) } | TokenVerdict::JustEnded { at } => report.fact("ended_at", when(*at)),
        TokenVerdict::JustRenewed { at, successor } => {
            report.fact("ended_at", when(*at));
            report.fact("renewed_as", successor.to_string());
        }
        TokenVerdict::Replayed { successor: Some(successor) } => report.fact("renewed_as", successor.to_string()),
        _ => {}
    }
    report.fact("verdict", verdict.name());
    if let Some(event) = verdict.event() {
        report.fact("event", event);
    }
    let explanation = format!("{verdict}{}", hint(verdict));
    report.text += &format!("{explanation}\n");
    report.facts.insert("explanation".to_owned(), json!(explanation));
    if let Some(data) = found.data.as_ref().filter(|_| with_data) {
        report.data(data);
    }
    Answer { text: report.text, json: Value::Object(report.facts), is_bad: !verdict.is_good() }
}

/// Returns the arguments to look at.
fn hint(verdict: &TokenVerdict) -> &'static str {
    match verdict {
        TokenVerdict::Authentic | TokenVerdict::Unmarked { .. } => " (Name it by --store.)",
        TokenVerdict::NotAuthentic => " (Is --cookie-name the application's?)",
        TokenVerdict::UnknownKey { .. } => " (`keys list` prints them.)",
        TokenVerdict::Ended { at: None } => " (Are --store, --table and --prefix the application's?)",
        _ => "",
    }
}

/// The findings, in the order in which they were made.
#[derive(Default)]
struct Report {
    facts: Map<String, Value>,
    text: String,
}

impl Report {
    fn fact(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let shown = value.as_str().map_or_else(|| value.to_string(), plain);
        self.text += &format!("{:<18}{shown}\n", name.replace('_', " "));
        self.facts.insert(name.to_owned(), value);
    }

    fn data(&mut self, data: &DataMap) {
        let value = |bytes| decode::<Value>(bytes).unwrap_or_else(|_| json!("(a value that JSON cannot show)"));
        let values: Map<String, Value> = data.iter().map(|(key, bytes)| (key.to_owned(), value(bytes))).collect();
        let values = Value::Object(values);
        for line in format!("{values:#}").lines() {
            self.text += &format!("{}\n", plain(line));
        }
        self.facts.insert("data".to_owned(), values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_of_this_name_is_taken_from_a_header() {
        for (text, value) in [
            ("AAA\n", "AAA"),
            ("__Host-session=AAA", "AAA"),
            ("Cookie: theme=dark; __Host-session=AAA; lang=de", "AAA"),
            ("cookie:theme=dark;__Host-session=AAA", "AAA"),
            ("Cookie: old__Host-session=BBB; __Host-session2=CCC; __Host-session=AAA\r\n", "AAA"),
            ("GET / HTTP/1.1\r\nCookie: theme=dark\r\nCookie: __Host-session=AAA\r\n", "AAA"),
            ("Set-Cookie: __Host-session=AAA; Path=/; Secure", "AAA"),
            ("other=AAA; Path=/", "AAA"),
            ("Authorization: Bearer AAA", "AAA"),
            (" \n", ""),
        ] {
            assert_eq!(value_in(text, "__Host-session"), value, "{text}");
        }
    }
}
