//! Any bytes as what a Node worker writes into its channel.
#![no_main]

#[path = "../claims/node_frames.rs"]
mod claims;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| claims::check(bytes));
