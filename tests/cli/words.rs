//! What is typed wrong, what is checked, and what a shell is given.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::fake::{ended, ganger, run};

#[test]
fn wrong_words_are_exit_code_2_and_go_to_standard_error() {
    let root = tempfile::tempdir().unwrap();
    for words in [&["frobnicate"][..], &["--frobnicate"], &["status"], &["scale", "api", "many"], &[]] {
        let shown = run(root.path(), words);
        assert_eq!((shown.code, shown.out.as_str()), (Some(2), ""), "{words:?}");
        assert!(shown.err.starts_with("ganger: "), "{}", shown.err);
    }
}

#[test]
fn a_faulty_configuration_is_exit_code_2_with_every_fault() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("api.toml");
    std::fs::write(&file, "command = [\"true\"]\nworkerz = 4\n[stop]\ntimeout = \"soon\"\n").unwrap();
    let file = file.to_str().unwrap();
    let shown = run(root.path(), &["check", file]);
    assert_eq!((shown.code, shown.out.as_str()), (Some(2), ""), "{shown:?}");
    assert!(shown.err.contains("api.toml:2:1") && shown.err.contains("api.toml:4:"), "{}", shown.err);
    assert!(shown.err.ends_with("ganger: 2 errors\n"), "{}", shown.err);
    let json: serde_json::Value =
        serde_json::from_str(&run(root.path(), &["check", "--json", file]).out).unwrap();
    assert_eq!(json["faults"].as_array().unwrap().len(), 2);
}

#[test]
fn a_good_configuration_is_printed_with_its_origins() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("api.toml");
    std::fs::write(&file, "command = [\"true\"]\nworkers = 3\n").unwrap();
    let file = file.to_str().unwrap();
    let shown = run(root.path(), &["check", file]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.starts_with("api: ok, 3 workers"), "{}", shown.out);
    let printed = run(root.path(), &["check", "--print", file]).out;
    let workers = printed.lines().find(|line| line.starts_with("workers ")).unwrap();
    assert!(workers.contains(" 3 ") && workers.ends_with("api.toml:2"), "{workers}");
}

#[test]
fn a_user_or_group_that_is_not_on_this_machine_is_warned_of() {
    let root = tempfile::tempdir().unwrap();
    for (lines, said) in [
        (
            "user = 'nobody-at-all'",
            ":3: warning: failed to find user \"nobody-at-all\": there is no such user",
        ),
        ("group = 'none-at-all'\nuser = 'nobody-at-all'", ":4: warning: failed to find user"),
        ("user = 'nobody-at-all'\ngroup = 'none-at-all'", ":4: warning: failed to find group"),
        (
            "user = 'root'\ngroup = 'none-at-all'",
            ":4: warning: failed to find group \"none-at-all\": there is no",
        ),
    ] {
        let file = root.path().join("app.toml");
        std::fs::write(&file, format!("command = ['/bin/true']\nlisten = ['3000']\n{lines}\n")).unwrap();
        let shown = run(root.path(), &["check", file.to_str().unwrap()]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.err.contains(said), "{shown:?}");
    }
}

#[test]
fn what_init_writes_passes_the_check_and_is_never_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("api.toml");
    let file = file.to_str().unwrap();
    let words = ["init", file, "-w", "2", "--listen", "127.0.0.1:0", "--", "/bin/sleep", "a \"b\""];
    assert_eq!(run(root.path(), &words).code, Some(0));
    let checked = run(root.path(), &["check", file]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let before = std::fs::read(file).unwrap();
    assert_eq!(run(root.path(), &words).code, Some(1));
    assert_eq!(std::fs::read(file).unwrap(), before);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let root = tempfile::tempdir().unwrap();
    let mut child =
        ganger(root.path(), &["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn an_output_that_cannot_be_written_is_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = ganger(root.path(), &["--help"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"),
        "{output:?}"
    );
}

#[test]
fn an_output_that_was_closed_is_a_failure_as_well_and_one_that_goes_nowhere_is_none() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("home/.config/ganger/api.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "command = ['true']").unwrap();
    for words in
        ["--help", "version", "--user list", "--user list --json", "--user logs api", "completions bash"]
    {
        let shell = |to: &str| {
            let line = format!("exec {} {words} {to}", env!("CARGO_BIN_EXE_ganger"));
            let mut command = Command::new("sh");
            command.env("HOME", root.path().join("home")).env("XDG_RUNTIME_DIR", root.path().join("run"));
            ended(command.args(["-c", &line]))
        };
        let closed = shell(">&-");
        assert_eq!(closed.code, Some(1), "{words}: {closed:?}");
        assert!(closed.err.starts_with("ganger: cannot write to standard output: "), "{words}: {closed:?}");
        if !words.contains("logs") {
            assert_eq!((shell("1<>/dev/null").code, shell(">/dev/null").code), (Some(0), Some(0)), "{words}");
        }
    }
}

/// A `systemctl` and a `journalctl` that write down how they were called; systemd knows every unit.
fn recorded(root: &Path, words: &[&str]) -> String {
    use std::os::unix::fs::PermissionsExt;
    let (bin, calls) = (root.join("bin"), root.join("calls"));
    std::fs::create_dir_all(&bin).unwrap();
    for program in ["systemctl", "journalctl"] {
        let script = format!("#!/bin/sh\necho {program} \"$@\" >> {}\n", calls.display());
        std::fs::write(bin.join(program), script).unwrap();
        std::fs::set_permissions(bin.join(program), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let ended = ended(ganger(root, words).env("PATH", path));
    assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
    let calls = std::fs::read_to_string(&calls).unwrap();
    calls.lines().last().unwrap().to_owned()
}

#[test]
fn an_app_that_only_the_user_has_needs_no_flag() {
    for place in ["run/ganger/bobs-own/private", "home/.config/ganger/bobs-own.toml"] {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
        for verb in ["start", "stop", "enable", "disable"] {
            assert_eq!(
                recorded(root.path(), &[verb, "bobs-own"]),
                format!("systemctl --user {verb} -- bobs-own.socket bobs-own.service")
            );
        }
        let call = recorded(root.path(), &["logs", "bobs-own"]);
        assert_eq!(call, "journalctl --user --user-unit=bobs-own.service", "{place}");
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("run/ganger")).unwrap();
    let call = recorded(root.path(), &["stop", "somebodys"]);
    assert_eq!(call, "systemctl stop -- somebodys.socket somebodys.service");
}

#[test]
fn the_scripts_are_accepted_by_their_shells() {
    let root = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = run(root.path(), &["completions", shell]);
        assert_eq!(script.code, Some(0));
        let file = root.path().join(shell);
        std::fs::write(&file, script.out).unwrap();
        let installed =
            Command::new(shell).arg("--version").output().is_ok_and(|output| output.status.success());
        assert!(installed || shell != "bash", "bash is not here");
        if installed {
            let checked = Command::new(shell).arg("-n").arg(&file).output().unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
    }
}

#[expect(clippy::print_stderr, reason = "what is not shown is told")]
/// Whether a shell is here; says so when it is not, and fails where everything should be.
pub(crate) fn has(shell: &str) -> bool {
    let installed = Command::new(shell).arg("--version").output().is_ok_and(|output| output.status.success());
    if !installed {
        assert!(std::env::var_os("CI").is_none(), "{shell} is not here");
        eprintln!("SKIPPED: {shell} is not here");
    }
    installed
}

/// What `shell` completes a line to: `script` is run by it, with the completion script in `@FILE@`.
fn completed(shell: &str, script: &str) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("home/.config/ganger");
    std::fs::create_dir_all(&config).unwrap();
    for app in ["api", "web"] {
        std::fs::write(config.join(format!("{app}.toml")), "").unwrap();
    }
    completed_in(root.path(), shell, script)
}

/// The same with the apps that are in `root`.
pub(crate) fn completed_in(root: &Path, shell: &str, script: &str) -> Vec<String> {
    let file = root.join("completions");
    std::fs::write(&file, run(root, &["completions", shell]).out).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_ganger")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(shell)
        .env_clear()
        .env("HOME", root.join("home"))
        .env("XDG_RUNTIME_DIR", root.join("run"))
        .env("PATH", format!("{}:{path}", program.display()))
        .current_dir(root)
        .args([if shell == "fish" { "--no-config" } else { "-f" }, "-c"])
        .arg(script.replace("@FILE@", file.to_str().unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Bash: what `_ganger` leaves for the line up to the cursor.
fn by_bash(line: &str) -> Vec<String> {
    let script = "source @FILE@; COMP_LINE='@LINE@'; COMP_POINT=${#COMP_LINE}; _ganger; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    completed("bash", &script.replace("@LINE@", line))
}

/// Fish itself, as it would show it: a word, and a tab and what it means.
fn by_fish(line: &str) -> Vec<String> {
    completed("fish", &format!("source @FILE@; complete -C '{line}'"))
}

/// Zsh: what `_ganger` gives to `_describe`, which the completion system would show.
fn by_zsh(words: &str, current: u32, prefix: &str) -> Vec<String> {
    let script = "compdef() {}; _describe() { print -l -- \"${(@P)2}\" }; _files() { print -- files }; \
                  source @FILE@; ";
    let line = format!("words=({words}); CURRENT={current}; PREFIX='{prefix}'; _ganger; true");
    completed("zsh", &format!("{script}{line}"))
}

#[test]
fn bash_completes_verbs_apps_and_values() {
    assert_eq!(by_bash("ganger relo"), ["reload"]);
    assert_eq!(by_bash("ganger --user status "), ["api", "web"]);
    assert_eq!(by_bash("ganger run --color=al"), ["always"]);
}

#[test]
fn fish_completes_verbs_apps_values_and_files() {
    if has("fish") {
        assert_eq!(by_fish("ganger resta").len(), 1);
        assert!(by_fish("ganger resta")[0].starts_with("restart\tReplace workers"));
        assert_eq!(by_fish("ganger --user status "), ["api", "web"]);
        assert_eq!(by_fish("ganger run --color=al"), ["--color=always"]);
        assert_eq!(by_fish("ganger check ./comp"), ["./completions"]);
    }
}

#[test]
fn zsh_completes_verbs_apps_values_and_files() {
    if has("zsh") {
        assert_eq!(by_zsh("ganger resta", 2, "resta").len(), 1);
        assert!(by_zsh("ganger resta", 2, "resta")[0].starts_with("restart:Replace workers"));
        assert_eq!(by_zsh("ganger --user status ''", 4, ""), ["api", "web"]);
        assert_eq!(by_zsh("ganger run --color=al", 3, "--color=al"), ["--color=always"]);
        assert!(by_zsh("ganger check ./ho", 3, "./ho").contains(&"files".to_owned()));
    }
}
