//! A memory of what a function has returned.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// The results of a function for each of its arguments.
pub(crate) struct Memo<A, R>(Mutex<HashMap<A, R>>);

impl<A, R> Default for Memo<A, R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Eq + Hash, R: Clone> Memo<A, R> {
    /// Returns what `function` makes of `argument`; it is called once for each.
    pub(crate) fn get(&self, argument: A, function: impl FnOnce(&A) -> R) -> R {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = known.get(&argument) {
            return result.clone();
        }
        let result = function(&argument);
        known.insert(argument, result.clone());
        result
    }
}
