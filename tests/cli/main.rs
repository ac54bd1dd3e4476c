//! The `ganger` program from outside: what is typed, what is written, and the exit code, against a supervisor
//! that a test plays behind the real private socket.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod asking;
mod fake;
mod shells;
mod top;
mod words;
