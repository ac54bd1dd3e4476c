//! The grammars that cross a border, as pure functions from bytes to values and back.
//!
//! Nothing here sees a descriptor, a clock or the environment; everything here takes whatever it is given,
//! within named limits, and is fuzzed (`fuzz/`). What a fact *means* is decided elsewhere.

pub mod listen_fds;
pub mod node;
pub mod notify;
pub mod state;
