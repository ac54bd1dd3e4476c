//! Starts of real processes: what they see, and what is told of those that fail.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

use super::*;
use crate::os::alone::{As, alone, passes_alone};
use crate::os::files::open_null;
use crate::os::pidfd::{Child, ExitStatus};
use crate::os::rlimit::Limit;
use crate::os::users::{self, Identity};
use crate::os::{cgroup, clock};

fn wait_readable(fd: BorrowedFd<'_>) {
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
    assert_eq!(poll(&mut polled, PollTimeout::from(20_000u16)).unwrap(), 1, "nothing happened for 20 s");
}

fn exit_of(child: &Child) -> ExitStatus {
    wait_readable(child.as_fd());
    child.try_wait().unwrap().unwrap()
}

fn template(argv: &[&str], env: &[(&str, &str)], directory: Option<&Path>) -> Result<Template, SpawnError> {
    let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let env: BTreeMap<OsString, OsString> =
        env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    Template::new(&Program { argv: &argv, env: &env, directory, identity: None, open_files: None })
}

const PATH: (&str, &str) = ("PATH", "/usr/bin:/bin");

fn launch<'a>(null: &'a OwnedFd, output: &'a OwnedFd) -> Launch<'a> {
    let (null, output) = (null.as_fd(), output.as_fd());
    Launch {
        stdio: [null, output, output],
        fds: &[],
        env: &[],
        pid_variables: &[],
        cgroup: None,
        new_session: true,
    }
}

fn outcome_of(spawning: &Spawning, template: &Template) -> Outcome {
    wait_readable(spawning.as_fd());
    spawning.outcome(template)
}

fn failure_of(template: &Template) -> SpawnError {
    let null = open_null().unwrap();
    let spawning = template.spawn(&launch(&null, &null)).unwrap();
    // A child that failed before it was told to go is gone already.
    let _ = spawning.go();
    let Outcome::Failed(error) = outcome_of(&spawning, template) else { panic!("it ran") };
    assert_eq!(exit_of(spawning.child()), ExitStatus::Code(EXIT_NOT_STARTED));
    error
}

#[derive(Default)]
struct Own<'a> {
    fds: &'a [(i32, BorrowedFd<'a>)],
    env: &'a [(OsString, OsString)],
    pid_variables: &'a [&'a str],
}

/// Runs `template` to its end and returns its pid and output.
fn output_of(template: &Template, own: Own<'_>) -> (u32, String) {
    let null = open_null().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let Own { fds, env, pid_variables } = own;
    let launch = Launch { fds, env, pid_variables, ..launch(&null, &writer) };
    let spawning = template.spawn(&launch).unwrap();
    drop(writer);
    spawning.go().unwrap();
    assert_eq!(outcome_of(&spawning, template), Outcome::Running);
    let mut text = String::new();
    File::from(OwnedFd::from(reader)).read_to_string(&mut text).unwrap();
    let _ = exit_of(spawning.child());
    (spawning.child().pid(), text)
}

#[test]
fn a_worker_runs_only_after_go_and_its_exit_is_its_own() {
    let template = template(&["sh", "-c", "exit 7"], &[PATH], None).unwrap();
    let null = open_null().unwrap();
    let spawning = template.spawn(&launch(&null, &null)).unwrap();
    assert_eq!(spawning.outcome(&template), Outcome::Pending);
    assert_eq!(spawning.child().try_wait().unwrap(), None);
    spawning.go().unwrap();
    assert_eq!(outcome_of(&spawning, &template), Outcome::Running);
    assert_eq!(exit_of(spawning.child()), ExitStatus::Code(7));
}

#[test]
fn without_go_the_child_leaves_when_the_supervisor_end_closes() {
    let template = template(&["sh", "-c", "exit 0"], &[PATH], None).unwrap();
    let null = open_null().unwrap();
    let spawning = template.spawn(&launch(&null, &null)).unwrap();
    let child = spawning.into_child();
    assert_eq!(exit_of(&child), ExitStatus::Code(EXIT_NOT_STARTED));
}

#[test]
fn the_environment_is_exactly_what_was_given_with_the_workers_own_pid() {
    let template =
        template(&["env"], &[PATH, ("KEPT", "a=b"), ("REPLACED", "old"), ("LISTEN_PID", "1")], None);
    let own = [("REPLACED".into(), "new".into())];
    let (pid, text) = output_of(
        &template.unwrap(),
        Own { env: &own, pid_variables: &["LISTEN_PID", "WATCHDOG_PID"], ..Own::default() },
    );
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let (listen, watchdog) = (format!("LISTEN_PID={pid}"), format!("WATCHDOG_PID={pid}"));
    assert_eq!(lines, ["KEPT=a=b", &listen, "PATH=/usr/bin:/bin", "REPLACED=new", &watchdog]);
}

/// Prints the descriptors of the shell and of a child of it, each seen from outside.
const LIST_FDS: &str = "ls /proc/$$/fd; echo; sh -c 'ls /proc/$$/fd; :'";

#[test]
fn worker_and_grandchild_have_exactly_the_given_descriptors() {
    let template = template(&["sh", "-c", LIST_FDS], &[PATH], None).unwrap();
    let (one, two) = (open_null().unwrap(), open_null().unwrap());
    // Not close-on-exec, as a careless library would leave it: it must not leak either.
    let stray = open_null().unwrap();
    nix::fcntl::fcntl(&stray, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let fds = [(3, one.as_fd()), (4, two.as_fd()), (9, one.as_fd())];
    let (_, text) = output_of(&template, Own { fds: &fds, ..Own::default() });
    assert_eq!(text, "0\n1\n2\n3\n4\n9\n\n0\n1\n2\n3\n4\n9\n");
}

#[test]
fn descriptors_may_trade_places() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for number in 0..6 {
        let path = directory.path().join(number.to_string());
        fs::write(&path, format!("file {number}\n")).unwrap();
        files.push(OwnedFd::from(File::open(path).unwrap()));
    }
    use std::os::fd::AsRawFd;
    // Every target is the source of another: a rotation.
    let numbers: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let fds: Vec<_> = (0..6).map(|place| (numbers[place], files[(place + 1) % 6].as_fd())).collect();
    let script: String = numbers.iter().map(|number| format!("read a <&{number}; echo \"$a\";")).collect();
    let template = template(&["bash", "-c", &script], &[PATH], None).unwrap();
    let (_, text) = output_of(&template, Own { fds: &fds, ..Own::default() });
    assert_eq!(text, "file 1\nfile 2\nfile 3\nfile 4\nfile 5\nfile 0\n");
}

#[test]
fn signals_and_session_are_fresh() {
    let script = "cat /proc/self/status; echo Ids: $(ps -o sid=,pgid= -p $$)";
    let template = template(&["sh", "-c", script], &[PATH], None).unwrap();
    let mut blocked = nix::sys::signal::SigSet::empty();
    blocked.add(nix::sys::signal::Signal::SIGUSR1);
    blocked.thread_block().unwrap();
    let (pid, text) = output_of(&template, Own::default());
    blocked.thread_unblock().unwrap();
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    // The test harness ignores SIGPIPE, as every Rust program does: the worker must not.
    for key in ["SigPnd:", "SigBlk:", "SigIgn:", "SigCgt:"] {
        assert_eq!(line(key), Some("0000000000000000"), "{key}");
    }
    assert_eq!(line("Ids:"), Some(format!("{pid} {pid}").as_str()));
}

#[test]
fn a_moved_link_does_not_move_the_old_generation() {
    let root = tempfile::tempdir().unwrap();
    for release in ["one", "two"] {
        fs::create_dir(root.path().join(release)).unwrap();
        fs::write(root.path().join(release).join("name"), release).unwrap();
    }
    let current = root.path().join("current");
    std::os::unix::fs::symlink("one", &current).unwrap();
    let template = template(&["cat", "name"], &[PATH], Some(&current)).unwrap();
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink("two", &current).unwrap();
    assert_eq!(output_of(&template, Own::default()).1, "one");
}

#[test]
fn each_way_not_to_run_is_told_with_its_path_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("plain", "hello", 0o644);
    file("text", "hello", 0o755);
    file("script", "#!/no/such/interpreter -x\n", 0o755);
    std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
    let cases = [
        ("/no/such/program", "run /no/such/program: no such file or directory"),
        ("no-such-word", "run no-such-word: no such file or directory (not in PATH /usr/bin:/bin)"),
        ("./plain", "run ./plain: permission denied (it is not executable)"),
        ("./", "run ./: permission denied (it is a directory)"),
        ("./text", "run ./text: exec format error (neither a program nor a script that begins with #!)"),
        (
            "./script",
            "run ./script: no such file or directory (its interpreter /no/such/interpreter is missing)",
        ),
        ("./link", "run ./link: no such file or directory (the link leads nowhere)"),
        ("/etc/passwd/x", "run /etc/passwd/x: not a directory"),
    ];
    for (program, expected) in cases {
        let error = failure_of(&template(&[program], &[PATH], Some(directory.path())).unwrap());
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.stage(), Stage::Exec);
        assert!(!error.is_shortage());
    }
}

#[test]
fn a_relative_program_that_is_missing_is_told_with_its_directory_and_whether_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let template = template(&["./worker"], &[PATH], Some(directory.path())).unwrap();
    let path = directory.path().display().to_string();
    let expected = format!("run ./worker: no such file or directory (in {path})");
    assert_eq!(failure_of(&template).to_string(), expected);
    directory.close().unwrap();
    let gone = format!("the directory {path} was removed or replaced");
    let expected = format!("run ./worker: no such file or directory ({gone})");
    assert_eq!(failure_of(&template).to_string(), expected);
}

#[test]
fn a_bad_template_is_refused_before_any_fork() {
    let missing = template(&["true"], &[PATH], Some(Path::new("/no/such/dir"))).unwrap_err();
    assert_eq!(missing.to_string(), "go to directory /no/such/dir: no such file or directory");
    let file = template(&["true"], &[PATH], Some(Path::new("/etc/passwd"))).unwrap_err();
    assert_eq!(file.to_string(), "go to directory /etc/passwd: not a directory");
    assert!(template(&[], &[PATH], None).is_err());
    assert!(template(&[""], &[PATH], None).is_err());
    assert!(template(&["a\0b"], &[PATH], None).is_err());
    assert!(template(&["true"], &[("A=B", "c")], None).is_err());
    assert!(template(&["true"], &[("A", "b\0c")], None).is_err());
}

#[test]
fn two_descriptors_for_one_number_are_refused() {
    let null = open_null().unwrap();
    let template = template(&["true"], &[PATH], None).unwrap();
    let spawn = |target| {
        let fds = [(3, null.as_fd()), (target, null.as_fd())];
        template.spawn(&Launch { fds: &fds, ..launch(&null, &null) }).map(drop)
    };
    for target in [3, 2, -1, MAX_TARGET + 1] {
        assert_eq!(spawn(target).unwrap_err().stage(), Stage::Descriptors, "{target}");
    }
}

#[test]
fn a_later_place_in_path_is_taken_when_an_earlier_one_cannot_be_run() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("echo"), "not this one").unwrap();
    let path = format!("/no/such:{}:/usr/bin:/bin", directory.path().display());
    let template = template(&["echo", "here"], &[("PATH", &path)], None).unwrap();
    assert_eq!(output_of(&template, Own::default()).1, "here\n");
}

#[test]
fn without_clone3_a_plain_fork_does_the_same() {
    let _refused = clone::pretend_clone3_is_refused();
    let template = template(&["sh", "-c", "echo $LISTEN_PID"], &[PATH], None).unwrap();
    let (pid, text) = output_of(&template, Own { pid_variables: &["LISTEN_PID"], ..Own::default() });
    assert_eq!(text.trim(), pid.to_string());
}

#[test]
fn a_supervisor_that_dies_before_go_leaves_nothing() {
    const NAME: &str = "process::tests::a_supervisor_that_dies_before_go_leaves_nothing";
    let output = alone(NAME, As::Ourselves, || {
        let template = template(&["sleep", "1000"], &[PATH], None).unwrap();
        let null = open_null().unwrap();
        let stdout = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
        // Two: the second one holds a copy of the first one's end until it has closed it.
        let _waiting = [(); 2].map(|()| template.spawn(&launch(&null, &stdout)).unwrap());
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    // `output` returns when nobody has our pipe any more: the children are gone as well.
    let output = output.unwrap();
    assert_eq!(output.status.signal(), Some(nix::libc::SIGKILL));
}

#[test]
fn without_descriptors_or_processes_a_start_fails_as_a_shortage() {
    const NAME: &str = "process::tests::without_descriptors_or_processes_a_start_fails_as_a_shortage";
    passes_alone(NAME, As::Nobody, || {
        let template = template(&["true"], &[PATH], None).unwrap();
        let null = open_null().unwrap();
        let before = fs::read_dir("/proc/self/fd").unwrap().count();
        let fails = |errno| {
            let error = template.spawn(&launch(&null, &null)).unwrap_err();
            assert_eq!((error.stage(), error.errno(), error.is_shortage()), (Stage::Fork, errno, true));
        };
        setrlimit(Resource::RLIMIT_NPROC, 0, 100).unwrap();
        fails(nix::libc::EAGAIN);
        setrlimit(Resource::RLIMIT_NPROC, 100, 100).unwrap();
        // Room for one end of the pair, then for the pair but not for the pidfd.
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&open_null().unwrap());
        for room in [0, 1, 2] {
            let limit = u64::try_from(lowest + room).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, limit, 1000).unwrap();
            fails(nix::libc::EMFILE);
        }
        setrlimit(Resource::RLIMIT_NOFILE, 1000, 1000).unwrap();
        assert_eq!(fs::read_dir("/proc/self/fd").unwrap().count(), before, "a failed start leaked");
        assert_eq!(output_of(&template, Own::default()).1, "", "and it recovers");
    });
}

#[test]
fn another_user_is_become_with_all_its_groups_or_refused_with_its_number() {
    let daemon = users::resolve(Some("daemon"), None).unwrap().unwrap();
    let identity = Identity { groups: vec![daemon.gid, 12_345], ..daemon };
    let argv = ["sh", "-c", "id -u; id -g; id -G; ulimit -n"].map(OsString::from);
    let env = BTreeMap::from([(PATH.0.into(), PATH.1.into())]);
    let open_files = Some(Limit { soft: 321, hard: 654 });
    let program = Program { argv: &argv, env: &env, directory: None, identity: Some(&identity), open_files };
    let template = Template::new(&program).unwrap();
    if nix::unistd::geteuid().is_root() {
        let expected = format!("{0}\n{1}\n{1} 12345\n321\n", identity.uid, identity.gid);
        assert_eq!(output_of(&template, Own::default()).1, expected);
    } else {
        let error = failure_of(&template);
        assert_eq!((error.stage(), error.errno()), (Stage::Groups, nix::libc::EPERM));
        assert!(error.to_string().contains(&identity.uid.to_string()), "{error}");
    }
}

#[test]
fn a_worker_is_born_in_its_control_group() {
    let Some(own) = cgroup::own().unwrap() else { return };
    let path = own.join(format!("ganger-test-born-{}", std::process::id()));
    if fs::create_dir(&path).is_err() {
        return;
    }
    let group = cgroup::Delegated::at(&path).worker(1).unwrap();
    let null = open_null().unwrap();
    let template = template(&["true"], &[PATH], None).unwrap();
    let launch = Launch { cgroup: Some(group.as_fd()), ..launch(&null, &null) };
    for way in ["clone3", "fork"] {
        let _refused = (way == "fork").then(clone::pretend_clone3_is_refused);
        let spawning = template.spawn(&launch).unwrap();
        assert_eq!(group.pids(), [spawning.child().pid()], "{way}");
        spawning.go().unwrap();
        assert_eq!(outcome_of(&spawning, &template), Outcome::Running);
        assert_eq!(exit_of(spawning.child()), ExitStatus::Code(0));
    }
    assert!(group.remove().unwrap());
    assert_eq!(template.spawn(&launch).unwrap_err().stage(), Stage::Cgroup, "into a group that is gone");
    fs::remove_dir(&path).unwrap();
}

/// What 500 starts cost; `cargo test --release --lib spawn_cost -- --nocapture` shows it. The claim is on our own
/// CPU time, which a busy machine does not stretch; the times of the wall are for the record.
#[test]
fn spawn_cost_of_500_workers_stays_small() {
    const NAME: &str = "process::tests::spawn_cost_of_500_workers_stays_small";
    const WORKERS: usize = 500;
    let output = alone(NAME, As::Ourselves, || {
        crate::os::rlimit::raise_open_files().unwrap();
        let template = template(&["/bin/true"], &[PATH], None).unwrap();
        let null = open_null().unwrap();
        let own_cpu = || {
            let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
            let total = usage.user_time() + usage.system_time();
            Duration::from_micros(total.num_microseconds().unsigned_abs())
        };
        let (begin, idle) = (clock::now(), own_cpu());
        let mut running = Vec::new();
        for _ in 0..WORKERS {
            let spawning = template.spawn(&launch(&null, &null)).unwrap();
            spawning.go().unwrap();
            running.push(spawning);
        }
        let (forked, cost) = (clock::now().since(begin), own_cpu() - idle);
        for spawning in &running {
            assert_eq!(outcome_of(spawning, &template), Outcome::Running);
        }
        let started = clock::now().since(begin);
        for spawning in &running {
            assert_eq!(exit_of(spawning.child()), ExitStatus::Code(0));
        }
        println!("{WORKERS} starts: {cost:?} of our CPU; forked after {forked:?}, running after {started:?}");
        assert!(cost < Duration::from_millis(300), "{cost:?}");
    });
    if let Some(output) = output {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        print!("{text}");
    }
}
