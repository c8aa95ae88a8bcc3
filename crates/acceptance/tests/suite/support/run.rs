//! Runs one case against one subject, and reports how it ended.

use std::future::Future;
use std::time::Duration;

use acceptance::report;

use super::server::Subject;

/// Longer than any case takes on a busy machine: a case that hangs fails instead.
const DEADLINE: Duration = Duration::from_secs(180);

pub(crate) fn run<F: Future<Output = ()>>(subject: Subject, name: &'static str, case: impl FnOnce(Subject) -> F) {
    if !subject.store.is_available() {
        return;
    }
    let _outcome = Outcome { subject, name };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, case(subject)).await });
    assert!(ended.is_ok(), "the case did not end within {DEADLINE:?}");
}

/// Reported when the case is over, however it ended.
struct Outcome {
    subject: Subject,
    name: &'static str,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let passed = !std::thread::panicking();
        if let Err(error) = report::append(self.subject.adapter(), self.subject.store.name(), self.name, passed) {
            eprintln!("the result of {} could not be reported: {error}", self.name);
        }
    }
}
