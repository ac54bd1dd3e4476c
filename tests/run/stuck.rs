//! Workers that stay although they were killed: they sleep in the kernel, in a file system that does not answer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::stage::{Run, Stage, is_root};

/// A file system without files: it takes the question for one and never answers (fuse(4)). Who asked sleeps where no
/// signal reaches it until the file system ends.
const HANGING: &str = r#"
import ctypes, os, struct, sys
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hanging", sys.argv[1].encode(), b"fuse", 0, options) != 0:
    sys.exit("mount: " + os.strerror(ctypes.get_errno()))
print("mounted", flush=True)
while True:
    request = os.read(device, 1 << 17)
    opcode, unique = struct.unpack_from("=IQ", request, 4)
    if opcode == 26:  # FUSE_INIT
        body = struct.pack("=IIIIHHII7I", 7, 31, 4096, 0, 1, 1, 4096, 1, *[0] * 7)
        os.write(device, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)
    elif opcode == 1:  # FUSE_LOOKUP
        print("asked", flush=True)
"#;

/// Answers with its pid; for `/hang` it looks for a file in the hanging file system first.
const WORKER: &str = r#"
import os, socket, sys
door = socket.socket(fileno=3)
door.setblocking(True)
while True:
    try:
        client, _ = door.accept()
    except BlockingIOError:
        continue
    if b"/hang" in client.recv(4096):
        os.stat(sys.argv[1] + "/file")
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n%d" % os.getpid())
    client.close()
"#;

struct Hanging {
    server: Child,
    place: std::path::PathBuf,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Hanging {
    /// Mounts one at `place`; `None` (and says so) where that cannot be done.
    fn mount(place: &Path) -> Option<Self> {
        if !Path::new("/dev/fuse").exists() {
            eprintln!("SKIPPED: no /dev/fuse, so no process can be made that outlives SIGKILL");
            return None;
        }
        std::fs::create_dir(place).unwrap();
        let mut command = Command::new("python3");
        let mut server = command.args(["-c", HANGING]).arg(place).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut hanging = Self { server, place: place.to_owned(), said };
        if hanging.said.next().is_none() {
            eprintln!("SKIPPED: a file system cannot be mounted here");
            return None;
        }
        Some(hanging)
    }

    /// Waits until a process hangs in it.
    fn wait_until_asked(&mut self) {
        assert_eq!(self.said.next().unwrap().unwrap(), "asked");
    }

    /// Lets go of whoever hangs in it.
    fn end(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.place).output();
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.end();
    }
}

/// A pool of one worker that hangs, its pid, and what it hangs in.
fn hanging(workers: u32) -> Option<(Run, u32, Hanging)> {
    let config = format!(
        "command = ['python3', '@DIR@/worker.py', '@DIR@/hanging']\nlisten = ['127.0.0.1:0']\n\
         workers = {workers}\n[reload]\nbake = '0s'\n[stop]\ntimeout = '100ms'\n"
    );
    let stage = Stage::new(&config);
    std::fs::write(stage.path("worker.py"), WORKER).unwrap();
    let mut hanging = Hanging::mount(&stage.path("hanging"))?;
    let run = stage.start();
    run.said("info: ready");
    let before = run.worker_pids();
    let mut client = std::net::TcpStream::connect(run.address()).unwrap();
    std::io::Write::write_all(&mut client, b"GET /hang HTTP/1.1\r\n\r\n").unwrap();
    hanging.wait_until_asked();
    let held = |pid: &u32| {
        let wchan = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap();
        wchan.contains("request_wait")
    };
    let pid = *before.iter().find(|pid| held(pid)).unwrap();
    Some((run, pid, hanging))
}

#[test]
fn a_worker_that_outlives_its_kill_does_not_hold_up_a_reload_and_is_reaped_in_the_end() {
    if !is_root("a worker that outlives its kill does not hold up a reload") {
        return;
    }
    let Some((run, pid, mut hanging)) = hanging(2) else { return };
    let out = run.client(&["reload", "app"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(0), "{text}");
    assert!(text.contains("killed, but held by the kernel: worker ") && text.contains(&format!("pid {pid}")));
    let line = run.said("was killed and is still there");
    assert!(line.contains(&format!("process {pid} sleeps uninterruptibly in request_wait_answer (state D)")));
    assert_eq!(run.count("was killed and is still there"), 1);

    let status = || String::from_utf8_lossy(&run.client(&["status", "app"]).stdout).into_owned();
    let page = status();
    let row = page.lines().find(|line| line.contains(&format!("pid {pid}"))).unwrap();
    assert!(row.contains("stuck"), "{page}");
    assert!(page.contains("2/2") && !run.get("/").is_empty(), "{page}");

    hanging.end();
    run.said_times(2, "is gone");
    assert!(!status().contains("stuck"));
    run.stop();
}

#[test]
fn a_worker_that_outlives_its_kill_does_not_keep_the_supervisor() {
    if !is_root("a worker that outlives its kill does not keep the supervisor") {
        return;
    }
    let Some((run, pid, mut hanging)) = hanging(1) else { return };
    run.signal(Signal::SIGTERM);
    assert_eq!(run.ended(), "exit 0");
    let line = run.said("was killed and is still there");
    assert!(line.contains(&format!("process {pid} sleeps uninterruptibly")), "{line}");
    hanging.end();
}
