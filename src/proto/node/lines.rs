//! Where a line ends. Bytes come in pieces of any size; lines go out whole.

use std::fmt;

use super::MAX_LINE_BYTES;

/// One line without its `\n`.
pub type Line = Vec<u8>;

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub struct LineSplitter {
    buffer: Vec<u8>,
    /// Where the first line begins that was not given out.
    start: usize,
    /// Up to here there is no line end after `start`.
    scanned: usize,
}

/// A line is longer than [`MAX_LINE_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong;

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line longer than {MAX_LINE_BYTES} bytes, the most for one process.send()")
    }
}

impl std::error::Error for LineTooLong {}

impl LineSplitter {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moved once per read, not once per line.
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.scanned = self.scanned.saturating_sub(self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line; empty lines are skipped.
    ///
    /// # Errors
    /// When the line is longer than [`MAX_LINE_BYTES`], whole or not. There is no way on from there.
    pub fn next_line(&mut self) -> Result<Option<Line>, LineTooLong> {
        loop {
            let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.buffer.len();
                let too_long = self.unfinished().len() > MAX_LINE_BYTES;
                return if too_long { Err(LineTooLong) } else { Ok(None) };
            };
            let end = self.scanned.saturating_add(at);
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            if line.len() > MAX_LINE_BYTES {
                return Err(LineTooLong);
            }
            let line = line.to_vec();
            self.start = end.saturating_add(1);
            self.scanned = self.start;
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Bytes of a line that is not whole yet (what a hand-over must carry along).
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let text = b"{\"a\":1}\n\n\"two\"\n3\nrest";
        for step in 1..text.len() {
            let mut splitter = LineSplitter::default();
            let mut lines = Vec::new();
            for piece in text.chunks(step) {
                splitter.push(piece);
                while let Some(line) = splitter.next_line().unwrap() {
                    lines.push(String::from_utf8(line).unwrap());
                }
            }
            assert_eq!(lines, ["{\"a\":1}", "\"two\"", "3"], "in pieces of {step}");
            assert_eq!(splitter.unfinished(), b"rest");
        }
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        let mut splitter = LineSplitter::default();
        splitter.push(&vec![b'x'; MAX_LINE_BYTES]);
        assert_eq!(splitter.next_line(), Ok(None));
        splitter.push(b"\n");
        assert_eq!(splitter.next_line().unwrap().unwrap().len(), MAX_LINE_BYTES);
        splitter.push(&vec![b'x'; MAX_LINE_BYTES + 1]);
        assert_eq!(splitter.next_line(), Err(LineTooLong));
    }
}
