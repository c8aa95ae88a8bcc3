//! Keys: new ones, their list, their change, their check.

use std::path::Path;

use secure_sessions::{
    COMPROMISED_KEYS_VARIABLE, FINGERPRINT_KEYS_VARIABLE, KeyKind, KeyState, Keyring, SEAL_KEYS_VARIABLE,
};
use secure_sessions_core::{FingerprintKey, KeyId, SealKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::arguments::{KeysCommand, RotateCommand};
use crate::error::Failure;
use crate::keyfile::{self, KeyFile, Kind};
use crate::output::Answer;

/// Reads the keys from the file, or from the environment.
pub(crate) fn keyring(file: Option<&Path>) -> Result<Keyring, Failure> {
    let keyring = match file {
        Some(file) => Keyring::from_file(file),
        None => Keyring::from_env(),
    };
    keyring.map_err(|error| Failure::keys(error, file))
}

pub(crate) fn run(command: KeysCommand, file: Option<&Path>) -> Result<Answer, Failure> {
    match command {
        KeysCommand::New { file, env } => new(file.as_deref(), env),
        KeysCommand::List => {
            let keyring = keyring(file)?;
            Ok(Answer::new(text(&keyring), json!({ "keys": list(&keyring) })))
        }
        KeysCommand::Rotate(command) => rotate(command, file),
        KeysCommand::Check => {
            let keyring = keyring(file)?;
            let problems = problems(&keyring, file);
            let json = json!({ "keys": list(&keyring), "problems": problems });
            let text = if problems.is_empty() { text(&keyring) } else { problems.join("\n") };
            Ok(Answer { is_bad: !problems.is_empty(), ..Answer::new(text, json) })
        }
    }
}

fn new(file: Option<&Path>, env: bool) -> Result<Answer, Failure> {
    let (seal, fingerprint) = Keyring::generate_texts()?;
    let (seal, fingerprint) = (seal.as_str(), fingerprint.as_str());
    let Some(path) = file else {
        let text = if env {
            format!("{SEAL_KEYS_VARIABLE}={seal}\n{FINGERPRINT_KEYS_VARIABLE}={fingerprint}")
        } else {
            format!("{seal}\n{fingerprint}")
        };
        return Ok(Answer::new(text, json!({ "seal": seal, "fingerprint": fingerprint })));
    };
    let text = Zeroizing::new(format!(
        "# Keys of secure-sessions. The first of each kind is active, the others still open what they sealed.\n{seal}\n{fingerprint}\n"
    ));
    keyfile::create(path, &text)?;
    let keyring = keyring(Some(path))?;
    let text = format!("{} made, readable by its owner alone:\n{}", path.display(), self::text(&keyring));
    Ok(Answer::new(text, json!({ "file": path.display().to_string(), "keys": list(&keyring) })))
}

fn rotate(command: RotateCommand, file: Option<&Path>) -> Result<Answer, Failure> {
    let path = file.ok_or_else(|| {
        Failure::Usage(format!(
            "which key file? Name it by --keys or SECURE_SESSIONS_KEY_FILE. Keys in the environment are changed where it is set: \
             add a new one (of `keys new --env`) as the second in {SEAL_KEYS_VARIABLE} or {FINGERPRINT_KEYS_VARIABLE} on every host, \
             then put it first. A leaked key moves to {COMPROMISED_KEYS_VARIABLE} in that second step"
        ))
    })?;
    keyring(Some(path))?; // What the application would refuse is not worked on.
    let mut file = KeyFile::read(path)?;
    let RotateCommand { add, activate, compromised, drop } = command;
    let next = match (add, activate, compromised, drop) {
        (Some(kind), ..) => {
            let (seal, fingerprint) = Keyring::generate_texts()?;
            file.add(kind, if kind == Kind::Seal { seal } else { fingerprint });
            "Copy the file to every host. Once all have it, `keys rotate --activate` the new key's id."
        }
        (_, Some(id), ..) => {
            file.activate(&id)?;
            "Copy the file to every host. Drop the old key after the longest lifetime of a session."
        }
        (_, _, Some(id), _) => {
            file.compromise(&id)?;
            "Copy the file to every host. Each session gets a new cookie at its next request, and nobody is logged out."
        }
        (.., id) => {
            file.drop_key(&id.unwrap_or_default())?;
            "Copy the file to every host. Cookies of the dropped key are refused from then on."
        }
    };
    // Nothing is written that the application would refuse.
    let keyring = file.keyring().map_err(|error| Failure::keys(error, Some(path)))?;
    file.write()?;
    Ok(Answer::new(format!("{}\n{next}", text(&keyring)), json!({ "keys": list(&keyring), "next": next })))
}

/// Returns what is wrong with the keys, though the application would start with them.
pub(crate) fn problems(keyring: &Keyring, file: Option<&Path>) -> Vec<String> {
    let mut problems: Vec<String> = file.and_then(keyfile::open_to_others).into_iter().collect();
    for (kind, id, state) in keyring.states() {
        if is_zero(kind, id) {
            problems
                .push(format!("the {} key {id} is 32 zero bytes, which everybody knows: make a new one", word(kind)));
        }
        if state == KeyState::Compromised {
            let kind = word(kind);
            problems
                .push(format!("the {kind} key {id} is compromised: drop it after the longest lifetime of a session"));
        }
    }
    problems
}

fn is_zero(kind: KeyKind, id: KeyId) -> bool {
    match kind {
        KeyKind::Seal => id == SealKey::from_bytes([0; 32]).id(),
        _ => id == FingerprintKey::from_bytes([0; 32]).id(),
    }
}

fn word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Seal => "seal",
        _ => "fingerprint",
    }
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Accepted => "accepted",
        _ => "compromised",
    }
}

fn text(keyring: &Keyring) -> String {
    let line = |(kind, id, is)| format!("{:<11}  {id}  {}\n", word(kind), state(is));
    keyring.states().map(line).collect()
}

pub(crate) fn list(keyring: &Keyring) -> Vec<Value> {
    let key = |(kind, id, is): (KeyKind, KeyId, KeyState)| json!({ "kind": word(kind), "id": id.to_string(), "state": state(is) });
    keyring.states().map(key).collect()
}
