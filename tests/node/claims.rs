//! A fuzzer's claims, without a fuzzer, on made-up scripts. Its corpus is replayed by `tests/corpus.rs`.

#[path = "../../fuzz/claims/node_channel.rs"]
mod node_channel;

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
