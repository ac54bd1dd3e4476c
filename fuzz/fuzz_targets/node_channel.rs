//! Any order of facts about Node workers, their connections and their sockets.
#![no_main]

#[path = "../claims/node_channel.rs"]
mod claims;

libfuzzer_sys::fuzz_target!(|script: &[u8]| claims::check(script));
