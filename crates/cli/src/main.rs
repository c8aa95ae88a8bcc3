#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arguments;
mod cookie;
mod doctor;
mod dynamodb;
mod error;
mod examples;
mod keyfile;
mod keys;
mod not_before;
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(wrong) => return output::print_wrong_arguments(&wrong),
    };
    let json = arguments.json;
    match run(arguments).await {
        Ok(answer) => answer.print(json),
        Err(failure) => output::print_failure(&failure, json),
    }
}

async fn run(arguments: Arguments) -> Result<Answer, Failure> {
    let Arguments { command, keys, store, cookie_name, .. } = arguments;
    match command {
        Command::Keys(command) => keys::run(command, keys.as_deref()),
        Command::Token(command) => token::run(command, keys.as_deref(), &store, cookie_name).await,
        Command::Sessions(command) => sessions::run(command, keys.as_deref(), &store, cookie_name).await,
        Command::NotBefore(command) => not_before::run(command, &store).await,
        Command::Purge => sessions::purge(&store).await,
        Command::Migrate(command) => store::migrate(command, &store).await,
        Command::Doctor(command) => doctor::run(&command, keys.as_deref(), &store, cookie_name).await,
    }
}
