//! Records as plain lines on a stream: a terminal, a pipe, a file.

use std::io::Write;

use tracing::Level;

use super::record::Record;

/// How a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dress {
    /// `warning: …`
    Plain,
    /// The same, coloured.
    Coloured,
    /// `<4>…`, as journald and sd-daemon(3) read it from a stream.
    Priority,
}

/// Lines to a stream.
pub(super) struct Stream {
    out: Box<dyn Write + Send>,
    dress: Dress,
}

impl Stream {
    pub(super) fn new(out: Box<dyn Write + Send>, dress: Dress) -> Self {
        Self { out, dress }
    }

    /// Writes one line; blocks while the reader takes none. A reader that is gone is nobody's fault.
    pub(super) fn write(&mut self, record: &Record) {
        let line = format!("{}{}\n", prefix(self.dress, record.level()), record.line());
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }
}

fn prefix(dress: Dress, level: Level) -> &'static str {
    let (plain, coloured, priority) = match level {
        Level::ERROR => ("error: ", "\x1b[1;31merror:\x1b[0m ", "<3>"),
        Level::WARN => ("warning: ", "\x1b[1;33mwarning:\x1b[0m ", "<4>"),
        Level::INFO => ("info: ", "\x1b[32minfo:\x1b[0m ", "<6>"),
        Level::DEBUG => ("debug: ", "\x1b[2mdebug:\x1b[0m ", "<7>"),
        _ => ("trace: ", "\x1b[2mtrace:\x1b[0m ", "<7>"),
    };
    match dress {
        Dress::Plain => plain,
        Dress::Coloured => coloured,
        Dress::Priority => priority,
    }
}
