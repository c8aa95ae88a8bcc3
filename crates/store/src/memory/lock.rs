//! The memory store's locks. With `--cfg shuttle`, which only a test sets, that test decides who gets them when.

#[cfg(not(shuttle))]
pub(super) use parking_lot::{Mutex, MutexGuard, RwLock};
#[cfg(shuttle)]
pub(super) use scheduled::{Mutex, MutexGuard, RwLock};

#[cfg(shuttle)]
mod scheduled {
    use std::sync::PoisonError;

    pub(in super::super) use shuttle::sync::MutexGuard;
    use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};

    /// Locks without poisoning, as `parking_lot` does.
    #[derive(Default)]
    pub(in super::super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    pub(in super::super) struct RwLock<T>(shuttle::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(shuttle::sync::RwLock::new(value))
        }

        pub(in super::super) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }

        pub(in super::super) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
