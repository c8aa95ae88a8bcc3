#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arguments;
mod cookie;
mod doctor;
mod error;
mod keyfile;
mod keys;
mod output;
mod sessions;
mod store;
mod token;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::error::Failure;
use crate::output::Answer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Wrong arguments end the process here, with code 2 and what to do.
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(arguments).await {
        Ok(answer) => {
            answer.print(json);
            if answer.is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(failure) => {
            output::print_failure(&failure, json);
            ExitCode::from(failure.code())
        }
    }
}

async fn run(arguments: Arguments) -> Result<Answer, Failure> {
    let Arguments { command, keys, store, cookie_name, .. } = arguments;
    match command {
        Command::Keys(command) => keys::run(command, keys.as_deref()),
        Command::Token(command) => token::run(command, keys.as_deref(), &store, cookie_name).await,
        Command::Sessions(command) => sessions::run(command, keys.as_deref(), &store, cookie_name).await,
        Command::Purge => sessions::purge(&store).await,
        Command::Migrate(command) => store::migrate(command, &store).await,
        Command::Doctor(command) => doctor::run(&command, keys.as_deref(), &store, cookie_name).await,
    }
}
