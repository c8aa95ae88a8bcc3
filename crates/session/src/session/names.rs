//! The names that other crates have for our methods. Calling one does not compile, and the compiler names ours.

use crate::session::Session;

macro_rules! names {
    ($($trait:ident $message:literal $note:literal: $($name:ident $(($argument:ident))?),*;)*) => {
        $(
            #[diagnostic::on_unimplemented(message = $message, label = "not a method of a session", note = $note)]
            #[allow(missing_docs, reason = "nobody can implement it")]
            pub trait $trait {}
        )*

        /// Methods that cannot be called: the bound, which nothing fulfils, is what the compiler explains.
        #[doc(hidden)]
        #[allow(missing_docs, reason = "they are not there for anyone to call")]
        impl Session {
            $($(
                pub fn $name(&self $(, $argument: &str)?)
                where
                    for<'a> &'a Self: $trait,
                {
                    $(let _ = $argument;)?
                }
            )*)*
        }
    };
}

names! {
    CallLogout
        "a session has no method of this name: call `logout()`"
        "`logout` ends the session on the server and removes the cookie; `clear` removes the data alone":
        flush, purge, destroy, delete;
    CallRenew
        "a session has no method of this name: call `renew()`, or `login(subject)` if somebody logs in"
        "both move the session to a new id; `login` also records who it is": cycle_id, cycle, regenerate;
    CallTake
        "a session has no method of this name: call `take::<T>(key)`"
        "`take` removes the key and returns its value; `remove` returns `true` if the key was there":
        remove_as(key), remove_value(key);
}
