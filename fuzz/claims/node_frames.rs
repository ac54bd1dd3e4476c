//! What holds for all bytes of a worker's channel. Used by the fuzzer and, on its corpus, by `cargo test`.

use ganger::proto::node::{Frame, LineSplitter, UserText, UserTextError};

/// Fails when one of the claims does not hold for `bytes`.
pub(crate) fn check(bytes: &[u8]) {
    let whole = lines(bytes, bytes.len().max(1));
    assert_eq!(whole, lines(bytes, 1), "lines do not depend on how the bytes are cut");
    assert_eq!(whole, lines(bytes, 7));
    for line in &whole {
        assert!(!line.is_empty() && !line.contains(&b'\n'));
        match Frame::parse(line) {
            Ok(Frame::User(json)) => {
                assert!(!json.contains(['\n', '\r']));
                let back = UserText::from_json(&json).unwrap();
                assert_eq!(back.as_json(), json, "what an app said can be said to another");
                assert_eq!(Frame::parse(json.as_bytes()), Ok(Frame::User(json)));
            }
            Ok(frame) => {
                let text = std::str::from_utf8(line).unwrap();
                assert_eq!(UserText::from_json(text), Err(UserTextError::Reserved), "{frame:?}");
                assert!(!format!("{frame:?}").contains("ticketKeys"), "key material is shown");
            }
            Err(error) => assert!(!error.to_string().contains('\n')),
        }
    }
}

fn lines(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
    let mut splitter = LineSplitter::default();
    let mut lines = Vec::new();
    for piece in bytes.chunks(step) {
        splitter.push(piece);
        while let Ok(Some(line)) = splitter.next_line() {
            lines.push(line);
        }
    }
    lines
}
