//! The fuzzers' claims, without a fuzzer: on their corpora and on made-up scripts.

use std::path::Path;

#[path = "../../fuzz/claims/node_channel.rs"]
mod node_channel;
#[path = "../../fuzz/claims/node_frames.rs"]
mod node_frames;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "the corpus in {} is gone", corpus.display());
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn every_known_channel_keeps_the_claims() {
    replay("node_frames", node_frames::check);
}

#[test]
fn every_known_script_keeps_the_claims() {
    replay("node_channel", node_channel::check);
}

#[test]
fn five_thousand_made_up_scripts_keep_the_claims() {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for round in 0..5_000 {
        let mut script = Vec::new();
        for _ in 0..(4 * (8 + round % 120)) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            script.push(state.to_le_bytes()[3]);
        }
        // Workers come and go in the script too; these two are there from the start.
        let mut whole = vec![0, 0, 1, 0, 0, 1, 1, 1];
        whole.extend(script);
        println!("script {round}: {whole:?}");
        node_channel::check(&whole);
    }
}
