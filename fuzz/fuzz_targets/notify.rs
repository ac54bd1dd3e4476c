//! Any bytes as a notify datagram.
#![no_main]

#[path = "../claims/notify.rs"]
mod claims;

libfuzzer_sys::fuzz_target!(|datagram: &[u8]| claims::check(datagram));
