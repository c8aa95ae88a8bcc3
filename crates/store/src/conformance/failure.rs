//! The failures that the suite reports.

use std::error::Error;
use std::fmt;

use crate::StoreError;

/// The reason why a case ended early.
#[derive(Debug)]
pub(super) struct Broken(String);

impl Broken {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        match error.source() {
            Some(cause) => Self(format!("a call failed: {error}: {cause}")),
            None => Self(format!("a call failed: {error}")),
        }
    }
}

impl From<tokio::task::JoinError> for Broken {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(format!("a task ended badly: {error}"))
    }
}

/// Ends the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::failure::Broken::new(format!($($message)+)));
        }
    };
}

/// A case that failed.
#[derive(Debug)]
pub struct CaseFailure {
    case: &'static str,
    broken: Broken,
}

impl CaseFailure {
    pub(super) fn new(case: &'static str, broken: Broken) -> Self {
        Self { case, broken }
    }

    /// Returns the name of the case.
    #[must_use]
    pub fn case(&self) -> &'static str {
        self.case
    }
}

impl fmt::Display for CaseFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.broken.0)
    }
}

impl Error for CaseFailure {}

/// All the cases that failed, at least one.
#[derive(Debug)]
pub struct Failures {
    failures: Vec<CaseFailure>,
    cases: usize,
}

impl Failures {
    pub(super) fn unless_none(failures: Vec<CaseFailure>, cases: usize) -> Result<(), Self> {
        if failures.is_empty() { Ok(()) } else { Err(Self { failures, cases }) }
    }

    /// Returns the failures one by one.
    pub fn iter(&self) -> impl Iterator<Item = &CaseFailure> {
        self.failures.iter()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store breaks {} of the contract's {} cases:", self.failures.len(), self.cases)?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

impl Error for Failures {}
