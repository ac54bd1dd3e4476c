//! `org.ganger1` from outside: a fake daemon behind the real server, real clients before it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may")]
#![expect(clippy::disallowed_types, reason = "the macro of the test's polkit uses one")]

mod arguments;
mod bus;
mod documents;
mod fake;
mod hostile;
mod messages;
mod private;
