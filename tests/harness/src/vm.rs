//! A VM for what containers cannot show: real cgroup controllers, the OOM killer, Debian's own kernels.
//!
//! A boot costs some 20 s, so one boot runs many checks: name them all, boot once, read each one's
//! outcome. The disk image stays as it was made; several VMs may use it at the same time.

use crate::host::Output;
use crate::prepare::{self, Debian, Kind};
use crate::scratch::{self, Scratch};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a VM may take to its first check before it counts as hung; 20 s where nothing else runs.
const BOOT_LIMIT: Duration = Duration::from_secs(75);
/// How long a VM may say nothing after that: more than one check may take.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);
/// How often a VM is booted whose kernel dies or hangs: qemu's emulation corrupts a kernel's memory now
/// and then (a kernel of Debian's never does that on metal). A check that fails is never tried again.
const ATTEMPTS: usize = 3;
/// What a check may take inside; emulated, so generous.
const CHECK_LIMIT_S: u32 = 90;

const BEGIN: &str = "@@begin ";
const END: &str = "@@end ";

/// A VM to be: files, then checks, then [`Vm::boot`].
#[derive(Debug)]
pub struct Vm {
    claim: String,
    debian: Debian,
    packages: Vec<String>,
    memory_mib: u32,
    files: Vec<(String, Vec<u8>)>,
    checks: Vec<(String, String)>,
}

impl Vm {
    /// A VM of this Debian; its kernel is Debian's own.
    pub fn new(debian: Debian, claim: &str) -> Vm {
        Vm {
            claim: claim.to_owned(),
            debian,
            packages: Vec::new(),
            memory_mib: 1024,
            files: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Debian packages beyond the plain image's; such an image is made once and kept.
    pub fn packages(mut self, packages: &[&str]) -> Vm {
        self.packages.extend(packages.iter().map(|package| (*package).to_owned()));
        self
    }

    /// Memory in MiB; 1024 unless said.
    pub fn memory_mib(mut self, memory: u32) -> Vm {
        self.memory_mib = memory;
        self
    }

    /// A file that is there when the checks begin; programs and scripts are executable.
    pub fn put(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Vm {
        self.files.push((path.trim_start_matches('/').to_owned(), bytes.into()));
        self
    }

    /// One of the machine's files, likewise.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub fn put_file(self, path: &str, from: impl AsRef<Path>) -> Vm {
        let from = from.as_ref();
        let bytes = fs::read(from).unwrap_or_else(|err| panic!("failed to read {}: {err}", from.display()));
        self.put(path, bytes)
    }

    /// A shell script (run by `sh -eu`, as root) whose output and exit code become the outcome `name`.
    /// Checks run in the order named, one after another, each in a shell of its own.
    pub fn check(mut self, name: &str, script: &str) -> Vm {
        self.checks.push((name.to_owned(), script.to_owned()));
        self
    }

    /// Boots, runs the checks, powers off; `None`, said loudly, where that cannot be done.
    ///
    /// # Panics
    /// Where it cannot be tried (packages, an image) and `CI` is set. A kernel that dies or hangs at each attempt
    /// is the emulation's fault, nothing that a test could mend: it is said loudly and is no failure.
    #[track_caller]
    pub fn boot(self) -> Option<Outcome> {
        let made = prepare::no_vm().map_or_else(|| prepare::made(Kind::Vm, self.debian, &self.packages), Err);
        let image = match made {
            Ok(image) => image,
            Err(why) => {
                crate::skipped(&self.claim, &why);
                return None;
            }
        };
        let mut failures = String::new();
        for _ in 0..ATTEMPTS {
            match self.attempt(&image) {
                Ok(checks) => {
                    let claim = format!("{}, VM {}", self.claim, self.debian.suite());
                    return Some(Outcome { claim, checks });
                }
                Err(why) => failures = why,
            }
            let _ = writeln!(std::io::stderr(), "{}: the VM's kernel died or hung; once more", self.claim);
        }
        crate::unable(
            &self.claim,
            &format!("this machine's emulation keeps no kernel alive: the VM {failures}"),
        );
        None
    }

    /// One boot; an error is a kernel that died or hung, never a check that failed.
    fn attempt(&self, image: &Path) -> Result<BTreeMap<String, Output>, String> {
        let scratch = Scratch::new(&scratch::name());
        self.write_job(scratch.path());
        let mut qemu = Killed(crate::boot::launch(self.qemu(image, scratch.path())).expect("qemu starts"));
        let ended = ended(&mut qemu.0, scratch.path());
        let text = |name: &str| {
            let bytes = fs::read(scratch.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\r', "")
        };
        let said = text("out");
        let checks = parse(&said);
        if ended && checks.len() == self.checks.len() {
            return Ok(checks);
        }
        let how = if ended { "ended before its checks did" } else { "did not end" };
        Err(format!("{how}\n--- job\n{said}\n--- console\n{}\n--- qemu\n{}", text("console"), text("qemu")))
    }

    /// The second disk: a tar with `root/` to lay over `/`, the checks, and the script that runs them.
    fn write_job(&self, dir: &Path) {
        let job = dir.join("job");
        let write = |path: &Path, bytes: &[u8]| {
            fs::create_dir_all(path.parent().expect("a folder"))
                .and_then(|()| fs::write(path, bytes))
                .expect("the job can be written");
        };
        let mut script = String::from("cp -rT /job/root / 2>/dev/null || :\nsystemctl daemon-reload\n");
        fs::create_dir_all(job.join("root")).expect("the job's folder can be made");
        for (path, bytes) in &self.files {
            write(&job.join("root").join(path), bytes);
            if bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF") {
                let _ = writeln!(script, "chmod 0755 '/{path}'");
            }
        }
        for (number, (name, check)) in self.checks.iter().enumerate() {
            write(&job.join(format!("check-{number}")), check.as_bytes());
            let _ = writeln!(script, "echo; echo '{BEGIN}{name}'");
            let _ = writeln!(
                script,
                "timeout -k 5 {CHECK_LIMIT_S} sh -eu /job/check-{number} </dev/null 2>&1; code=$?"
            );
            let _ = writeln!(script, "echo; echo \"{END}$code\"");
        }
        write(&job.join("job.sh"), script.as_bytes());
        let tar = dir.join("job.tar");
        let done = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&job)
            .arg(".")
            .status()
            .expect("tar starts");
        assert!(done.success(), "tar of the job failed");
        // A disk is whole sectors, and tar wants to read past the end of the archive.
        let length = fs::metadata(&tar).expect("the tar is there").len().next_multiple_of(512) + (1 << 20);
        fs::OpenOptions::new()
            .write(true)
            .open(&tar)
            .and_then(|file| file.set_len(length))
            .expect("the tar can grow");
    }

    fn qemu(&self, image: &Path, dir: &Path) -> Command {
        let mut qemu = Command::new("setpriv");
        // It does not outlive a killed test process.
        qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        let file = |name: &str| dir.join(name).display().to_string();
        let from = |name: &str| image.join(name).display().to_string();
        // Emulated unless asked otherwise: where KVM is nested, it may be there and not work.
        let accel = std::env::var("GANGER_TEST_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".to_owned());
        qemu.args([
            "-accel",
            &accel,
            "-cpu",
            "max,la57=off,cx16=off",
            "-smp",
            "2",
            "-m",
            &self.memory_mib.to_string(),
        ])
        .args(["-display", "none", "-no-reboot", "-monitor", "none", "-nic", "none"])
        .args(["-kernel", &from("kernel"), "-initrd", &from("initrd"), "-append"])
        .arg(
            "root=/dev/vda rw console=ttyS0 mitigations=off quiet systemd.show_status=0 systemd.firstboot=0 \
                 oops=panic panic=-1",
        )
        .args(["-serial", &format!("file:{}", file("console")), "-serial", &format!("file:{}", file("out"))])
        .args(["-drive", &format!("file={},format=raw,if=virtio,snapshot=on", from("disk.img"))])
        .args(["-drive", &format!("file={},format=raw,if=virtio,readonly=on", file("job.tar"))])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
        qemu
    }
}

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for its end; false when nothing was heard of it for too long.
fn ended(qemu: &mut Child, dir: &Path) -> bool {
    let size = |name: &str| fs::metadata(dir.join(name)).map_or(0, |meta| meta.len());
    let mut heard = (0, 0);
    let mut since = Instant::now();
    loop {
        if matches!(qemu.try_wait(), Ok(Some(_))) {
            return true;
        }
        let now = (size("console"), size("out"));
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
        let limit = if now.1 == 0 { BOOT_LIMIT } else { SILENCE_LIMIT };
        if since.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn parse(said: &str) -> BTreeMap<String, Output> {
    let mut checks = BTreeMap::new();
    let mut current: Option<(String, String)> = None;
    for line in said.lines() {
        if let Some(name) = line.strip_prefix(BEGIN) {
            current = Some((name.to_owned(), String::new()));
        } else if let Some(code) = line.strip_prefix(END) {
            if let Some((name, stdout)) = current.take() {
                let code = code.trim().parse().unwrap_or(-1);
                checks.insert(
                    name,
                    Output { stdout: stdout.trim_end().to_owned() + "\n", stderr: String::new(), code },
                );
            }
        } else if let Some((_, stdout)) = &mut current {
            stdout.push_str(line);
            stdout.push('\n');
        }
    }
    checks
}

/// How the checks of one VM ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    claim: String,
    checks: BTreeMap<String, Output>,
}

impl Outcome {
    /// The output of a check, stderr within stdout.
    ///
    /// # Panics
    /// Where no check has that name.
    #[track_caller]
    pub fn of(&self, check: &str) -> &Output {
        self.checks.get(check).unwrap_or_else(|| panic!("{}: no check is named {check}", self.claim))
    }

    /// The output of a check that must have succeeded.
    ///
    /// # Panics
    /// Where it did not, with what it said.
    #[track_caller]
    pub fn ok(&self, check: &str) -> &str {
        let out = self.of(check);
        assert!(out.success(), "{}: {check} failed: {out}", self.claim);
        out.stdout.trim_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_own_output_and_code() {
        let said = "noise\n\n@@begin a\none\ntwo\n\n@@end 0\n\n@@begin b c\n\n@@end 3\n@@begin cut\nhalf";
        let checks = parse(said);
        assert_eq!(checks.keys().collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!((checks["a"].stdout.as_str(), checks["a"].code), ("one\ntwo\n", 0));
        assert_eq!(checks["b c"].code, 3);
    }
}
