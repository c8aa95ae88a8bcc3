//! One command: how it is run, and how it is written down for someone to run it again.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader};
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

    pub(crate) fn has_argument(&self, argument: &str) -> bool {
        self.arguments.iter().any(|one| one == argument)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn variables(self, variables: &[(&str, String)]) -> Self {
        variables.iter().fold(self, |command, (name, value)| command.variable(name, value))
    }

    /// Runs it to its end; whether it succeeded. Nothing is captured.
    pub(crate) fn run(&self) -> Result<bool> {
        let status = self.command().status().with_context(|| format!("cannot start {}", self.program))?;
        Ok(status.success())
    }

    /// Runs it to its end, and shows every line of its standard output to `see`; whether it succeeded.
    pub(crate) fn run_watched(&self, mut see: impl FnMut(&str)) -> Result<bool> {
        let mut command = self.command();
        let mut child = command.stdout(Stdio::piped()).spawn();
        let child = child.as_mut().map_err(|error| anyhow::anyhow!("cannot start {}: {error}", self.program))?;
        let output = child.stdout.take().context("its standard output is not there")?;
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read its standard output")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            see(&line);
        }
        Ok(child.wait()?.success())
    }

    /// Returns `true` if it can be run at all and succeeds, without a word.
    pub(crate) fn succeeds_quietly(&self) -> bool {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Returns the text that it prints on its standard output.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self.command().stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot start {}", self.program))?;
        if !output.status.success() {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            anyhow::bail!("failed: {self}");
        }
        String::from_utf8(output.stdout).context("its output is not UTF-8")
    }

    /// Returns the text that it prints on its standard error, which is shown as it comes.
    pub(crate) fn complaints(&self) -> Result<String> {
        let child = self.command().stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {}", self.program))?;
        let stderr = child.stderr.take().context("its standard error is not there")?;
        let mut said = String::new();
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.context("cannot read its standard error")?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            said.push_str(&line);
            said.push('\n');
        }
        anyhow::ensure!(child.wait()?.success(), "failed: {self}");
        Ok(said)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(workspace::root());
        // Cargo's variables about this program must not reach another cargo: build scripts that watch these variables
        // (ring's does) would run again on each change between `cargo xtask` and plain `cargo`.
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
    fn who_watches_sees_every_line_and_whether_it_succeeded() {
        for (end, succeeds) in [("true", true), ("false", false)] {
            let mut seen = Vec::new();
            let said = program("sh", ["-c", &format!("echo one; echo; printf two; {end}")]);
            assert_eq!(said.run_watched(|line| seen.push(line.to_owned())).expect("sh"), succeeds);
            assert_eq!(seen, ["one", "", "two"]);
        }
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
