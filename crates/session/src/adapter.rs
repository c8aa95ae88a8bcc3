//! The two sides of an adapter: what it reads of a request, and what it writes to a response.

pub(crate) mod head;
pub(crate) mod reply;
