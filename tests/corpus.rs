//! The fuzzers' corpora, replayed: what was ever found stays found, without a fuzzer.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what fails here is a failed test")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/claims/listen_fds.rs"]
mod listen_fds;
#[cfg(test)]
#[path = "../fuzz/claims/node_channel.rs"]
mod node_channel;
#[cfg(test)]
#[path = "../fuzz/claims/node_frames.rs"]
mod node_frames;
#[path = "../fuzz/claims/notify.rs"]
mod notify;
#[path = "../fuzz/claims/state.rs"]
mod state;

/// Calls `check` with every file of one target's corpus.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "the corpus in {} is gone", corpus.display());
    for file in files {
        // Shown only when the check fails.
        println!("{}", file.display());
        check(&fs::read(&file).unwrap());
    }
}

#[test]
fn every_known_notify_datagram_keeps_the_claims() {
    replay("notify", notify::check);
}

#[test]
fn every_known_set_of_variables_keeps_the_claims() {
    replay("listen_fds", listen_fds::check);
}

#[test]
fn every_known_hand_over_document_keeps_the_claims() {
    replay("state", state::check);
}

#[test]
fn every_known_frame_of_node_keeps_the_claims() {
    replay("node_frames", node_frames::check);
}

#[test]
fn every_known_life_of_node_workers_keeps_the_claims() {
    replay("node_channel", node_channel::check);
}
