//! The reasons why there is no server.

use std::io;

/// A server that could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine does not have the program.
    #[error("{binary} is missing: {install}")]
    Missing {
        /// The program's name.
        binary: &'static str,
        /// The command that installs it.
        install: &'static str,
    },
    /// A program that prepares the server's data failed.
    #[error("{program} failed:\n{output}")]
    Preparation {
        /// The program's name.
        program: String,
        /// The output of the program.
        output: String,
    },
    /// The server ended by itself, or did not answer in time.
    #[error("{server} did not come up:\n{log}")]
    NotReady {
        /// The server's name.
        server: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The server answered a command with an error, or not at all.
    #[error("the server refused a command: {0}")]
    Command(String),
    /// The operating system refused something.
    #[error("cannot {what}")]
    Io {
        /// The attempted action.
        what: String,
        /// The reason for the failure.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
