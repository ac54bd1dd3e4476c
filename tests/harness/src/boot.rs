//! How a container is booted: Debian's roots, or this machine's own tree, each as nspawn's PID 1.

use crate::cgroup::Cgroup;
use crate::host::Host;
use crate::prepare::{self, Debian, Kind};
use crate::scratch::{self, Scratch};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a boot may take before it counts as failed; one takes about half a second.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// Boots Debian 12 (systemd 252); `None`, said loudly, where that cannot be done.
#[track_caller]
pub fn debian12(claim: &str) -> Option<Host> {
    Boot::debian(Debian::Bookworm, claim).start()
}

/// Boots Debian 13 (systemd 257); `None`, said loudly, where that cannot be done.
#[track_caller]
pub fn debian13(claim: &str) -> Option<Host> {
    Boot::debian(Debian::Trixie, claim).start()
}

/// Boots this machine's own systemd on its own `/usr`, with an empty `/etc` and `/var`.
#[track_caller]
pub fn machine(claim: &str) -> Option<Host> {
    Boot::machine(claim).start()
}

/// Debian 12, then Debian 13: `for host in both("claim") { … }`. Each is booted when its turn comes and
/// gone before the next.
pub fn both(claim: &str) -> impl Iterator<Item = Host> {
    let claim = claim.to_owned();
    [Debian::Bookworm, Debian::Trixie]
        .into_iter()
        .filter_map(move |debian| Boot::debian(debian, &claim).start())
}

/// What is booted from.
#[derive(Clone, Debug)]
enum Tree {
    Debian(Debian),
    Machine,
}

/// A container to be: [`debian12`] and its like for the plain case, this where more must be said.
#[derive(Debug)]
pub struct Boot {
    claim: String,
    tree: Tree,
    packages: Vec<String>,
    binds: Vec<String>,
    kernel: Vec<String>,
}

impl Boot {
    /// A Debian root.
    pub fn debian(debian: Debian, claim: &str) -> Boot {
        Boot {
            claim: claim.to_owned(),
            tree: Tree::Debian(debian),
            packages: Vec::new(),
            binds: Vec::new(),
            kernel: Vec::new(),
        }
    }

    /// This machine's own tree.
    pub fn machine(claim: &str) -> Boot {
        Boot { tree: Tree::Machine, ..Boot::debian(Debian::Bookworm, claim) }
    }

    /// Debian packages beyond the plain root's; such a root is made once and kept.
    pub fn packages(mut self, packages: &[&str]) -> Boot {
        self.packages.extend(packages.iter().map(|package| (*package).to_owned()));
        self
    }

    /// Shows the machine's `from` as `to` inside, read-only.
    pub fn bind_ro(mut self, from: impl AsRef<Path>, to: &str) -> Boot {
        self.binds.push(format!("--bind-ro={}:{to}", from.as_ref().display()));
        self
    }

    /// Shows the machine's `from` as `to` inside, writable.
    pub fn bind(mut self, from: impl AsRef<Path>, to: &str) -> Boot {
        self.binds.push(format!("--bind={}:{to}", from.as_ref().display()));
        self
    }

    /// A word for systemd's command line, such as `systemd.unit=rescue.target`.
    pub fn kernel_word(mut self, word: &str) -> Boot {
        self.kernel.push(word.to_owned());
        self
    }

    /// Boots it and returns when systemd says that it is up; `None`, said loudly, where that cannot be done.
    ///
    /// # Panics
    /// Where the boot fails, with the console's output; where it cannot be tried and `CI` is set.
    #[track_caller]
    pub fn start(self) -> Option<Host> {
        let root = match prepare::no_containers().map_or_else(|| self.root(), Err) {
            Ok(root) => root,
            Err(why) => {
                crate::skipped(&self.claim, &why);
                return None;
            }
        };
        let name = scratch::name();
        let cgroup = match Cgroup::new(&name) {
            Ok(cgroup) => cgroup,
            Err(why) => {
                crate::skipped(&self.claim, &why);
                return None;
            }
        };
        let scratch = Scratch::new(&name);
        match self.boot(&name, &root, &cgroup, scratch.path()) {
            Ok((nspawn, init)) => {
                let title = match self.tree {
                    Tree::Debian(debian) => {
                        format!("{}, {} (systemd {})", self.claim, debian.suite(), debian.systemd())
                    }
                    Tree::Machine => format!("{}, on the machine's own tree", self.claim),
                };
                Some(Host::new(title, nspawn, init, cgroup, scratch))
            }
            Err(why) => {
                let console = std::fs::read_to_string(scratch.path().join("console")).unwrap_or_default();
                panic!("{}: the container did not boot: {why}\n--- console\n{console}", self.claim);
            }
        }
    }

    /// The folder to boot; none for the machine's own tree is ever made.
    fn root(&self) -> Result<PathBuf, String> {
        match self.tree {
            Tree::Debian(debian) => prepare::made(Kind::Root, debian, &self.packages),
            Tree::Machine => Ok(PathBuf::from("/")),
        }
    }

    fn boot(&self, name: &str, root: &Path, cgroup: &Cgroup, dir: &Path) -> Result<(Child, u32), String> {
        let said = |what: &str, err: io::Error| format!("failed to {what}: {err}");
        std::fs::create_dir(dir.join("share")).map_err(|err| said("make the shared folder", err))?;
        let notify = dir.join("notify");
        let socket = UnixDatagram::bind(&notify).map_err(|err| said("bind the notify socket", err))?;
        let console = File::create(dir.join("console")).map_err(|err| said("make the console file", err))?;
        let stderr = console.try_clone().map_err(|err| said("share the console file", err))?;
        let mut command = Command::new("sh");
        command
            .args([
                "-euc",
                &format!("{}exec setsid setpriv --pdeathsig KILL systemd-nspawn \"$@\"", cgroup.enter()),
                "sh",
            ])
            .args(self.arguments(name, root, dir))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(stderr);
        let mut nspawn = launch(command).map_err(|err| said("start systemd-nspawn", err))?;
        match up(&socket, &mut nspawn) {
            Ok(init) => Ok((nspawn, init)),
            Err(why) => {
                cgroup.kill();
                let _ = nspawn.wait();
                Err(why)
            }
        }
    }

    fn arguments(&self, name: &str, root: &Path, dir: &Path) -> Vec<String> {
        let mut arguments: Vec<String> = vec!["--quiet".into(), format!("--directory={}", root.display())];
        arguments.extend(
            ["--register=no", "--keep-unit", "--private-network", "--notify-ready=yes"].map(String::from),
        );
        arguments.push(format!("--machine={name}"));
        arguments.push("--hostname=test".into());
        arguments.push(format!("--bind={}/share:/share", dir.display()));
        arguments.extend(self.binds.iter().cloned());
        let ganger = crate::built::ganger();
        match self.tree {
            Tree::Debian(_) => {
                arguments.push("--volatile=overlay".into());
                if ganger.exists() {
                    arguments.push(format!("--bind-ro={}:/usr/bin/ganger", ganger.display()));
                }
            }
            Tree::Machine => {
                // `/usr` is the machine's and read-only; ganger is at /run/ganger-bin, no preset enables anything.
                arguments.push("--volatile=yes".into());
                if ganger.exists() {
                    arguments.push(format!("--bind-ro={}:/opt/ganger", ganger.display()));
                }
            }
        }
        arguments.extend(["--boot", "--", "systemd.firstboot=0"].map(String::from));
        if matches!(self.tree, Tree::Machine) {
            arguments.push("systemd.unit=basic.target".into());
        }
        arguments.extend(self.kernel.iter().cloned());
        arguments
    }
}

/// Waits for nspawn's word that the container is up; gives the host's pid of its PID 1.
fn up(socket: &UnixDatagram, nspawn: &mut Child) -> Result<u32, String> {
    let deadline = Instant::now() + BOOT_LIMIT;
    let mut leader = None;
    let mut datagram = [0; 4096];
    socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(|err| err.to_string())?;
    loop {
        match socket.recv(&mut datagram) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                for line in text.lines() {
                    if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                        leader = pid.parse().ok();
                    } else if line == "READY=1" {
                        return leader.ok_or_else(|| "ready, but no pid was told".to_owned());
                    }
                }
            }
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(err) => return Err(err.to_string()),
        }
        if let Ok(Some(status)) = nspawn.try_wait() {
            return Err(format!("systemd-nspawn ended: {status}"));
        }
        if Instant::now() > deadline {
            return Err(format!("not up after {} s", BOOT_LIMIT.as_secs()));
        }
    }
}

/// Starts containers from one thread that lives as long as this process. The parent-death signal that
/// takes a container along with a killed test process follows the *thread* that forked, and a test's
/// thread ends with its test.
pub(crate) fn launch(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static LAUNCHER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (answer, started) = mpsc::channel();
    let orders = launcher.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    orders.send((command, answer)).map_err(io::Error::other)?;
    started.recv().map_err(io::Error::other)?
}
