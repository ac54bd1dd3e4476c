//! Any bytes as the three variables.
#![no_main]

#[path = "../claims/listen_fds.rs"]
mod claims;

libfuzzer_sys::fuzz_target!(|variables: &[u8]| claims::check(variables));
