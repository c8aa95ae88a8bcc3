//! The key of a value to remove.

/// The key of a value to remove: a reference to any text.
#[diagnostic::on_unimplemented(
    message = "`remove` returns no value: call `take::<{Self}>(key)`",
    label = "to get the value, call `take::<{Self}>(key)`",
    note = "`remove` returns `true` if the key was there"
)]
pub trait KeyToRemove: AsRef<str> {}

impl<T: AsRef<str> + ?Sized> KeyToRemove for &T {}
