//! A message bus of a test's own: a real dbus-daemon(1), killed with it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running bus.
#[derive(Debug)]
pub struct MessageBus {
    child: Child,
    /// Where clients connect to.
    pub address: String,
}

impl MessageBus {
    /// Starts one whose socket and configuration are in `directory`; `rules`: what the latter says besides.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(directory: &Path, rules: &str) -> Self {
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let config = directory.join("bus.conf");
        let text = format!(
            "<busconfig><listen>{address}</listen><auth>EXTERNAL</auth>
             {rules}</busconfig>"
        );
        std::fs::write(&config, text).expect("a configuration");
        // Of one that was there before.
        let _ = std::fs::remove_file(socket);
        let mut child = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
            .arg(format!("--config-file={}", config.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its pipe")).read_line(&mut line).expect("its address");
        assert!(line.starts_with("unix:"), "dbus-daemon did not start: {line:?}");
        Self { child, address }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for MessageBus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
