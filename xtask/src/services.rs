//! `cargo xtask services`: throwaway database servers, for this run's tests or for a developer's shell.

use std::io::{self, BufRead};

use anyhow::{Result, bail};
use services::{Error, Shared};

use crate::report::Report;

/// Returns the servers that these tests use, those that the environment names or started for this run: variable and URL of
/// each. The missing ones are steps of the report.
pub(crate) fn for_tests(report: &mut Report, tests: &str, servers: &[Shared]) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    for server in servers {
        let step = format!("{tests} on {}", server.name());
        match server.try_url() {
            Ok(url) => variables.push((server.variable(), url)),
            Err(missing @ Error::Missing { .. }) => report.skip(&step, &missing.to_string()),
            Err(error) => report.failed(&step, &error.to_string()),
        }
    }
    variables
}

/// Starts the named servers, or all of them, prints what to put into the environment, and keeps them until it is ended
/// (Ctrl-C), or until its standard input is closed.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    if let Some(unknown) = names.iter().find(|name| !Shared::ALL.iter().any(|server| server.name() == *name)) {
        bail!("no server {unknown}; there are: {}", Shared::ALL.map(Shared::name).join(", "));
    }
    let wanted = Shared::ALL.into_iter().filter(|server| names.is_empty() || names.iter().any(|n| n == server.name()));
    let (mut started, mut complete) = (0, true);
    for server in wanted {
        match server.try_url() {
            Ok(url) => {
                println!("export {}='{url}'", server.variable());
                started += 1;
            }
            Err(missing @ Error::Missing { .. }) => {
                eprintln!("SKIPPED {}: {missing}", server.name());
                complete &= std::env::var("CI").is_err();
            }
            Err(error) => bail!("{}: {error}", server.name()),
        }
    }
    if started > 0 {
        eprintln!("Ctrl-C ends them, and removes their data.");
        // You may kill this process: each server is watched by a shell that outlives it for a moment.
        for line in io::stdin().lock().lines() {
            line?;
        }
    }
    Ok(complete)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_server_that_does_not_exist_is_an_error_that_lists_those_that_do() {
        let error = run(&["oracle".to_owned()]).expect_err("no such server").to_string();
        assert!(error.contains("oracle") && error.contains("redis-cluster"), "{error}");
    }
}
