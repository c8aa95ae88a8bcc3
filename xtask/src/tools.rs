//! Tools that a machine with nothing but Rust does not have.

use crate::invocation::{cargo, program};

/// Something that a step needs besides stable Rust.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool {
    /// A subcommand of cargo, from the crate of the same name.
    Subcommand(&'static str),
    /// A nightly toolchain, for what only it has.
    Nightly,
}

impl Tool {
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Subcommand(name) => cargo([name, "--version"]).succeeds_quietly(),
            Self::Nightly => program("rustup", ["run", "nightly", "rustc", "--version"]).succeeds_quietly(),
        }
    }

    pub(crate) fn how_to_install(self) -> String {
        match self {
            Self::Subcommand(name) => format!("cargo-{name} is missing: cargo install cargo-{name} --locked"),
            Self::Nightly => "a nightly toolchain is missing: rustup toolchain install nightly".to_owned(),
        }
    }
}
