//! The harness itself: what is booted is systemd, and what is asked of it is answered.

use harness::{Debian, Vm, both, machine};
use std::sync::LazyLock;

const SOCKET: &str = "\
[Socket]
ListenStream=127.0.0.1:8080
FileDescriptorName=web
TriggerLimitIntervalSec=0
";

const SERVICE: &str = "\
[Unit]
Requires=greeter.socket
After=greeter.socket
[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/python3 /opt/greeter.py
";

const GREETER: &str = r#"
import os, socket
listener = socket.socket(fileno=3)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1\nSTATUS=greeting on " + os.environ["LISTEN_FDNAMES"].encode(), os.environ["NOTIFY_SOCKET"])
print("up", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello from %d" % os.getpid())
    connection.close()
"#;

#[test]
fn a_connection_starts_a_socket_activated_service_on_both_debians() {
    for host in both("socket activation") {
        host.put("/etc/systemd/system/greeter.socket", SOCKET);
        host.put("/etc/systemd/system/greeter.service", SERVICE);
        host.put("/opt/greeter.py", GREETER);
        host.ok("systemctl daemon-reload && systemctl start greeter.socket");
        assert_eq!(host.property("greeter.service", "ActiveState"), "inactive");

        let said = host.ok("curl -sS --max-time 20 http://127.0.0.1:8080/");
        assert_eq!(said, format!("hello from {}", host.property("greeter.service", "MainPID")));
        assert_eq!(host.wait_for_log("greeter.service", "up"), "up");

        let status = host.ok("systemctl status greeter.service");
        assert!(status.contains("Status: \"greeting on web\""), "{status}");
        let units = "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Version";
        assert!(host.ok(units).starts_with("s \"25"), "{}", host.ok(units));

        host.ok("systemctl stop greeter.socket greeter.service");
        host.wait_for_property("greeter.service", "ActiveState", "inactive");
        assert_ne!(host.run("curl -sS --max-time 5 http://127.0.0.1:8080/").code, 0);
    }
}

#[test]
fn each_debian_boots_its_own_systemd_version() {
    let versions: Vec<String> =
        both("versions").map(|host| host.ok("systemctl --version | cut -d' ' -f2 | head -n1")).collect();
    assert!(versions.is_empty() || versions == ["252", "257"], "{versions:?}");
}

#[test]
fn a_container_leaves_nothing_behind() {
    for host in both("cleaning up") {
        host.ok("setsid -f sleep 1000");
        let (init, share) = (host.init_pid(), host.share());
        let cgroup = std::fs::read_to_string(format!("/proc/{init}/cgroup")).expect("its cgroup");
        drop(host);
        assert!(!std::path::Path::new(&format!("/proc/{init}")).exists(), "PID 1 is still there");
        assert!(!share.exists(), "the shared folder is still there");
        let name = cgroup.split('/').find(|part| part.starts_with("ganger-test-")).expect("a cgroup of ours");
        for top in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
            assert!(!std::path::Path::new(top).join(name).exists(), "{top}/{name} is still there");
        }
    }
}

#[test]
fn a_tree_laid_over_the_root_is_found_there() {
    for host in both("installing a tree") {
        let tree = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(tree.path().join("usr/lib/ganger")).expect("folders");
        std::fs::write(tree.path().join("usr/lib/ganger/hello"), "hi").expect("a file");
        host.install_tree(tree.path());
        assert_eq!(host.ok("cat /usr/lib/ganger/hello"), "hi");
        assert_eq!(host.ok("stat -c '%u %a' /usr /"), "0 755\n0 755");
    }
}

#[test]
fn the_machines_own_systemd_boots_as_well() {
    let Some(host) = machine("the machine's own tree") else { return };
    assert_eq!(host.ok("readlink /proc/1/exe | grep -o 'systemd$'"), "systemd");
    host.put("/run/systemd/system/probe.service", "[Service]\nType=oneshot\nExecStart=/bin/echo probed\n");
    host.ok("systemctl daemon-reload && systemctl start probe.service");
    assert_eq!(host.wait_for_log("probe.service", "probed"), "probed");
}

/// One boot for all claims about the VM.
static VM: LazyLock<Option<harness::Outcome>> = LazyLock::new(|| {
    Vm::new(Debian::Trixie, "real controllers")
        .put("/opt/script", "#!/bin/sh\necho ran\n")
        .check("controllers", "cat /sys/fs/cgroup/cgroup.controllers")
        .check("files", "/opt/script")
        .check("failing", "echo before; false; echo after")
        .check(
            "memory-limit",
            "! systemd-run -q --wait --pipe -p MemoryMax=32M -p MemorySwapMax=0 python3 -c 'x = bytearray(200 << 20)'\n\
             journalctl -b -o cat | grep -m1 -o 'oom-kill'",
        )
        .boot()
});

#[test]
fn a_vm_has_the_controllers_that_containers_lack() {
    let Some(vm) = VM.as_ref() else { return };
    let controllers: Vec<&str> = vm.ok("controllers").split(' ').collect();
    for wanted in ["cpuset", "cpu", "io", "memory", "pids"] {
        assert!(controllers.contains(&wanted), "{wanted} is missing of {controllers:?}");
    }
    assert_eq!(vm.ok("memory-limit"), "oom-kill");
}

#[test]
fn a_vm_tells_each_checks_output_and_exit_code() {
    let Some(vm) = VM.as_ref() else { return };
    assert_eq!(vm.ok("files"), "ran");
    assert_eq!((vm.of("failing").stdout.as_str(), vm.of("failing").code), ("before\n", 1));
}
