//! Prints the answer of a command, as text or as JSON.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use secure_sessions::Timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Failure;

/// The answer of a command, for people and for programs.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) json: Value,
    /// `true` if the command found a problem.
    pub(crate) is_bad: bool,
}

impl Answer {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, is_bad: false }
    }

    /// Prints the answer, and returns the exit code.
    pub(crate) fn print(&self, json: bool) -> ExitCode {
        let code = if self.is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        if json { line(&written(&self.json), code) } else { line(self.text.trim_end(), code) }
    }
}

pub(crate) fn print_failure(failure: &Failure, json: bool) -> ExitCode {
    let code = ExitCode::from(failure.code());
    if json {
        return line(&written(&json!({ "error": failure.to_string() })), code);
    }
    eprintln!("secure-sessions: {failure}");
    code
}

/// Prints what is wrong with the arguments, or the help that they ask for.
pub(crate) fn print_wrong_arguments(wrong: &clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(2));
    if wrong.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = wrong.to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ").trim_end();
        return line(&json!({ "error": text }).to_string(), code);
    }
    match wrong.print() {
        Err(failed) if !wrong.use_stderr() => unwritten(&failed, code),
        _ => code,
    }
}

fn line(text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(failed) => unwritten(&failed, code),
    }
}

/// Returns the exit code of an answer that could not be written.
fn unwritten(failed: &io::Error, code: ExitCode) -> ExitCode {
    // A reader that has seen enough, such as `head`, closes the pipe: that is no error.
    if failed.kind() == ErrorKind::BrokenPipe {
        return code;
    }
    eprintln!("secure-sessions: the answer cannot be written: {failed}");
    ExitCode::FAILURE
}

/// Writes a value as JSON, and also escapes the control characters that JSON leaves as they are: a terminal obeys some of them.
fn written(value: &Value) -> String {
    let mut text = String::new();
    for letter in value.to_string().chars() {
        if letter.is_control() {
            text += &format!("\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

/// Returns a text of a user's without what would move the cursor of a terminal, or colour it.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() })
        .collect()
}

/// Returns a time as RFC 3339 writes it, in UTC.
pub(crate) fn when(at: Timestamp) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|at| at.format(&Rfc3339).ok());
    at.unwrap_or_else(|| "a time beyond the calendar".to_owned())
}
