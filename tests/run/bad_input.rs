//! What nobody should give it: one clear message, the right exit code, never a panic.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::stage::{From, Run, Stage, is_root};

const TWO: &str = "listen = ['127.0.0.1:0']\nworkers = 2\n";

/// It ends with this code and says this, in one line that names the cause, without a panic.
#[track_caller]
fn refused(run: &Run, code: &str, words: &[&str]) {
    assert_eq!(run.ended(), code);
    assert!(harness::wait_until(|| words.iter().all(|word| run.count(word) > 0)), "not all of {words:?}");
    assert_eq!(run.count("panicked"), 0);
    assert_eq!(run.left_behind(), [] as [u32; 0]);
}

#[test]
fn without_a_socket_and_an_address_it_says_how_to_give_one() {
    let run = Stage::new("command = ['@WORKER@']\nworkers = 1").start();
    refused(&run, "exit 1", &["there is no socket to serve", "--listen 3000"]);
}

#[test]
fn sockets_for_another_process_are_refused() {
    let stage =
        Stage::new("command = ['@WORKER@']\nworkers = 1").env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    refused(&stage.start(), "exit 1", &["LISTEN_PID names process 1"]);
}

#[test]
fn sockets_that_were_announced_but_closed_are_explained() {
    let stage = Stage::new("command = ['@WORKER@']\nworkers = 1").wrapped(&[
        "sh",
        "-c",
        "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"",
    ]);
    refused(&stage.start(), "exit 1", &["was announced by LISTEN_FDS but not passed"]);
}

#[test]
fn a_connection_is_no_socket_to_share() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let stage = Stage::new("command = ['@WORKER@']\nworkers = 1");
    let run = stage.sockets(vec![("connection", OwnedFd::from(connection))]).start();
    refused(&run, "exit 1", &["is a single connection", "Accept=no"]);
    drop(client);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = Stage::new(&format!("command = ['@WORKER@']\nlisten = ['{address}']\nworkers = 1")).start();
    refused(&run, "exit 1", &[&format!("failed to listen on {address}")]);
}

#[test]
fn a_command_that_cannot_run_is_an_error_of_the_start_and_names_the_path() {
    let stage = Stage::empty();
    let script = stage.path("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let plain = stage.path("plain");
    std::fs::write(&plain, "just text").unwrap();
    let garbage = stage.path("garbage");
    std::fs::write(&garbage, "\u{7f}ELF and no more").unwrap();
    std::fs::set_permissions(&garbage, std::fs::Permissions::from_mode(0o755)).unwrap();
    let [script, plain, garbage] = [script, plain, garbage].map(|path| path.display().to_string());
    for (command, word) in [
        ("/no/such/program", "/no/such/program"),
        ("no-such-program", "no-such-program"),
        (plain.as_str(), "ermission denied"),
        (script.as_str(), "interpreter"),
        (garbage.as_str(), "garbage"),
    ] {
        let run = Stage::new(&format!("command = ['{command}']\n{TWO}")).managed().start();
        refused(&run, "exit 1", &[word]);
        run.told("EXIT_STATUS=1");
    }
}

#[test]
fn a_working_directory_that_is_missing_is_named() {
    let run = Stage::new(&format!("command = ['@WORKER@']\ndirectory = '@DIR@/missing'\n{TWO}")).start();
    refused(&run, "exit 2", &["missing"]);
}

#[test]
fn a_command_that_exits_at_once_is_tried_again_and_never_counts_as_ready() {
    let run =
        Stage::new(&format!("command = ['true']\n{TWO}restart.backoff.initial = '1ms'")).managed().start();
    run.said_times(6, "exited with status 0");
    run.stop();
    assert!(!run.all(From::Manager).iter().any(|text| text.contains("READY=1")));
}

#[test]
fn a_number_of_workers_that_is_out_of_range_is_refused() {
    for workers in ["0", "-1", "1000000", "99999999999999999999", "1.5", "'zero'", "'0'"] {
        let run =
            Stage::new(&format!("command = ['true']\nlisten = ['127.0.0.1:0']\nworkers = {workers}")).start();
        refused(&run, "exit 2", &["workers"]);
    }
    let run = Stage::empty().args(&["run", "--listen", "127.0.0.1:0", "-w", "1000000", "--", "true"]).start();
    refused(&run, "exit 2", &["1000000"]);
}

#[test]
fn a_configuration_that_is_no_readable_text_is_refused() {
    let stage = Stage::empty();
    let (dir, huge, binary, fifo) =
        (stage.path("dir.toml"), stage.path("huge.toml"), stage.path("binary.toml"), stage.path("fifo.toml"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::File::create(&huge).unwrap().set_len(100 << 20).unwrap();
    std::fs::write(&binary, b"command = ['\xff\xfe\x00']").unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for (path, exit, word) in [
        (dir, "exit 2", "directory"),
        (huge, "exit 2", "huge.toml"),
        (binary, "exit 2", "UTF-8"),
        (fifo, "exit 2", "FIFO"),
        ("/dev/zero.toml".into(), "exit 3", "/dev/zero.toml"),
    ] {
        let run = Stage::empty().args(&["run", path.to_str().unwrap()]).start();
        refused(&run, exit, &[word]);
    }
}

#[test]
fn a_configuration_that_may_not_be_read_is_refused() {
    if !is_root("a configuration without the right to read it") {
        return;
    }
    let stage = Stage::new(&format!("command = ['true']\n{TWO}"));
    std::fs::set_permissions(stage.path("app.toml"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let run = stage.unprivileged(&[]).start();
    refused(&run, "exit 2", &["ermission denied"]);
}

#[test]
fn words_that_are_no_command_line_are_refused() {
    for args in [
        &["run"][..],
        &["run", "--"],
        &["run", "--listen", "nonsense:address:3", "--", "true"],
        &["run", "--no-such-flag", "--", "true"],
        &["run", "--ready", "sometime", "--listen", "127.0.0.1:0", "--", "true"],
    ] {
        let run = Stage::empty().args(args).start();
        assert_eq!(run.ended(), "exit 2", "{args:?}");
        assert_eq!(run.count("panicked"), 0, "{args:?}");
    }
}

#[test]
fn an_app_of_a_name_that_runs_already_is_refused_and_another_name_helps() {
    let words = |name| {
        let front =
            ["run", "--user", "--listen", "127.0.0.1:0", "-w", "1", "--ready", "started", "--name", name];
        [&front[..], &["--", "python3", "-c", "import time; time.sleep(1000)"]].concat()
    };
    let stage = Stage::empty().env("XDG_RUNTIME_DIR", "@DIR@").args(&words("server"));
    let run = stage.start();
    run.said("info: ready");
    let notify = std::fs::metadata(run.path("ganger/server/notify")).unwrap().ino();
    let again = |name| {
        let mut command = run.client_command(&words(name));
        command.env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", run.path(""));
        command
    };
    let output = again("server").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let wanted = format!(
        "an app called server runs already (pid {}); give this one another name with --name",
        run.pid()
    );
    assert!(text.contains(&wanted), "{text}");
    assert_eq!(std::fs::metadata(run.path("ganger/server/notify")).unwrap().ino(), notify, "untouched");

    let mut other = again("other").stderr(std::process::Stdio::null()).spawn().unwrap();
    let private = run.path("ganger/other/private");
    assert!(harness::wait_until(|| std::os::unix::net::UnixStream::connect(&private).is_ok()));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(other.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(other.wait().unwrap().success());
    run.stop();
}
