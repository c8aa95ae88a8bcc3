//! The two sides of an adapter: the request's head that the engine reads, and the response's headers that it writes.

pub(crate) mod head;
pub(crate) mod optional;
pub(crate) mod reply;
