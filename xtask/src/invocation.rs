//! One command: how it is run, and how it is written down for someone to run it again.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::workspace;

/// A command in the workspace's root, with the caller's standard input and output.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    program: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

/// `cargo` with arguments.
pub(crate) fn cargo<A: Into<String>>(arguments: impl IntoIterator<Item = A>) -> Invocation {
    program("cargo", arguments)
}

/// Any program with arguments.
pub(crate) fn program<A: Into<String>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Invocation {
    let arguments = arguments.into_iter().map(Into::into).collect();
    Invocation { program: name.to_owned(), arguments, variables: Vec::new() }
}

impl Invocation {
    pub(crate) fn args<A: Into<String> + Clone>(mut self, arguments: &[A]) -> Self {
        self.arguments.extend(arguments.iter().cloned().map(Into::into));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it to its end; whether it succeeded. Nothing is captured.
    pub(crate) fn run(&self) -> Result<bool> {
        let status = self.command().status().with_context(|| format!("cannot start {}", self.program))?;
        Ok(status.success())
    }

    /// Whether it can be run at all and succeeds, without a word.
    pub(crate) fn succeeds_quietly(&self) -> bool {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// What it prints on its standard output.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self.command().stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot start {}", self.program))?;
        anyhow::ensure!(output.status.success(), "failed: {self}");
        String::from_utf8(output.stdout).context("its output is not UTF-8")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(workspace::root());
        // What cargo told this program about itself must not reach another cargo: build scripts that watch these
        // variables (ring's does) would run again on each change between `cargo xtask` and plain `cargo`.
        for (name, _) in std::env::vars_os() {
            if is_about_this_program(&name) {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn is_about_this_program(variable: &OsStr) -> bool {
    variable
        .to_str()
        .is_some_and(|name| name == "CARGO" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

impl fmt::Display for Invocation {
    /// As one would type it into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&quoted(&self.program))?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_command_is_written_as_a_shell_takes_it() {
        let doc = cargo(["doc", "--no-deps"]).variable("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(doc.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
        assert_eq!(cargo(["+nightly", "fuzz"]).args(&["it's", ""]).to_string(), r"cargo +nightly fuzz 'it'\''s' ''");
    }

    #[test]
    fn only_what_cargo_said_about_this_program_is_kept_from_children() {
        for name in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(is_about_this_program(OsStr::new(name)), "{name}");
        }
        for name in ["CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_BUILD_JOBS", "CARGO_TERM_COLOR", "CI"] {
            assert!(!is_about_this_program(OsStr::new(name)), "{name}");
        }
    }
}
