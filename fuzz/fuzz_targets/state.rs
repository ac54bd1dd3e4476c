//! Any bytes as a hand-over document.
#![no_main]

#[path = "../claims/state.rs"]
mod claims;

libfuzzer_sys::fuzz_target!(|document: &[u8]| claims::check(document));
