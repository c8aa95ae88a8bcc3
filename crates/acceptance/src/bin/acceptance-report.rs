//! Prints the table of a results file: `acceptance-report FILE`, or the file that `ACCEPTANCE_REPORT` names.

use std::process::ExitCode;

use acceptance::report;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1).or_else(|| std::env::var_os(report::VARIABLE)) else {
        eprintln!("usage: acceptance-report FILE");
        return ExitCode::from(2);
    };
    match std::fs::read_to_string(&path) {
        Ok(results) => {
            let (table, passed) = report::table(&results);
            print!("{table}");
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(2)
        }
    }
}
