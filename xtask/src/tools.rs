//! Tools that a machine with nothing but Rust does not have.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::invocation::{cargo, program};

/// Something that a step needs besides stable Rust.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tool {
    /// A subcommand of cargo, from the crate of the same name.
    Subcommand(&'static str),
    /// A nightly toolchain, for what only it has.
    Nightly,
    /// The tools of LLVM that belong to the nightly toolchain.
    NightlyLlvm,
    /// A program of its own.
    Program {
        /// As it is called.
        name: &'static str,
        /// The command that installs it.
        install: &'static str,
    },
}

impl Tool {
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Subcommand(name) => cargo([name, "--version"]).succeeds_quietly(),
            Self::Nightly => program("rustup", ["run", "nightly", "rustc", "--version"]).succeeds_quietly(),
            Self::NightlyLlvm => nightly_llvm("llvm-cov").is_ok_and(|program| program.exists()),
            Self::Program { name, .. } => program(name, ["--version"]).succeeds_quietly(),
        }
    }

    pub(crate) fn how_to_install(self) -> String {
        match self {
            Self::Subcommand(name) => format!("cargo-{name} is missing: cargo install cargo-{name} --locked"),
            Self::Nightly => "a nightly toolchain is missing: rustup toolchain install nightly".to_owned(),
            Self::NightlyLlvm => {
                "the tools of LLVM are missing: rustup component add llvm-tools --toolchain nightly".to_owned()
            }
            Self::Program { name, install } => format!("{name} is missing: {install}"),
        }
    }
}

/// Returns the path at which a tool of LLVM that belongs to the nightly toolchain would be.
pub(crate) fn nightly_llvm(name: &str) -> Result<PathBuf> {
    let printed = program("rustc", ["+nightly", "--print", "target-libdir"]).output()?;
    let folder = Path::new(printed.trim()).parent().context("rustc names no folder of libraries")?;
    Ok(folder.join("bin").join(name))
}
