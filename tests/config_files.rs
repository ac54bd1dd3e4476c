//! Files that nobody meant as a configuration: each gets one message, none blocks, grows or panics.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use ganger::config::{self, Dirs, Flags, Loaded, Request, Subject};
use ganger::plan::AppName;

fn load(dir: &Path) -> Result<Loaded, String> {
    config::load(&Request {
        subject: Subject::App(AppName::new("app").unwrap()),
        dirs: Dirs::these(vec![dir.to_owned()]),
        profile: None,
        cpus: 2,
        flags: Flags::default(),
    })
    .map_err(|diagnostics| diagnostics.to_string())
}

fn message(dir: &Path) -> String {
    load(dir).expect_err("the configuration passed")
}

#[test]
fn a_fifo_without_a_writer_does_not_block() {
    let dir = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&dir.path().join("app.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(message(dir.path()).contains("it is a FIFO, not a regular file"));
}

#[test]
fn a_socket_and_a_device_are_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(dir.path().join("app.toml")).unwrap();
    assert!(message(dir.path()).contains("cannot read the configuration: no such device or address"));
    let dir = tempfile::tempdir().unwrap();
    symlink("/dev/zero", dir.path().join("app.toml")).unwrap();
    assert!(message(dir.path()).contains("it is not a regular file"));
}

#[test]
fn a_hundred_megabytes_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::File::create(dir.path().join("app.toml")).unwrap().set_len(100 << 20).unwrap();
    assert!(message(dir.path()).contains("it is larger than 1 MiB"));
}

#[test]
fn an_endless_file_of_the_kernel_is_bounded_too() {
    let dir = tempfile::tempdir().unwrap();
    // Its length is 0, and it is no TOML: what matters is that the size is not believed.
    symlink("/proc/self/maps", dir.path().join("app.toml")).unwrap();
    assert!(message(dir.path()).contains("not TOML"));
}

#[test]
fn an_unreadable_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    fs::write(&file, "command = [\"x\"]").unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    // Root reads everything; then the file is simply good.
    match load(dir.path()) {
        Ok(loaded) => assert!(nix::unistd::geteuid().is_root(), "{loaded:?}"),
        Err(text) => assert!(text.contains("permission denied"), "{text}"),
    }
}

#[test]
fn keys_and_tables_nested_without_end_do_not_exhaust_the_stack() {
    let deep = "a.".repeat(100_000);
    for text in [
        format!("{deep}a = 1"),
        format!("[{deep}a]\n"),
        format!("a = {}", "[".repeat(500_000)),
        format!("a = {}", "{a=".repeat(200_000)),
        format!("[[{deep}a]]\n"),
        format!("x = {{ {deep}a = 1 }}"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("app.toml"), text).unwrap();
        assert!(!message(dir.path()).is_empty());
    }
}

#[test]
fn a_megabyte_of_errors_gives_a_short_message() {
    for line in ["=\n", "x\n", "a = 1\n", "[env\n"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("app.toml"), line.repeat(200_000)).unwrap();
        let text = message(dir.path());
        assert!(text.len() < 20_000, "{} bytes for {line:?}", text.len());
    }
    let dir = tempfile::tempdir().unwrap();
    let unknown: String = (0..20_000).map(|number| format!("k{number} = 1\n")).collect();
    fs::write(dir.path().join("app.toml"), unknown).unwrap();
    let text = message(dir.path());
    assert!(text.ends_with("… and 19950 more"), "{}", &text[text.len() - 80..]);
}

#[test]
fn a_plan_keeps_its_release_when_the_link_moves_on() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("one")).unwrap();
    fs::create_dir(at("two")).unwrap();
    symlink("one", at("current")).unwrap();
    fs::write(at("app.toml"), "command = [\"x\"]\ndirectory = \"current\"\n").unwrap();
    let before = load(dir.path()).unwrap().plan;
    fs::remove_file(at("current")).unwrap();
    symlink("two", at("current")).unwrap();
    let after = load(dir.path()).unwrap().plan;
    assert_eq!(before.command.directory, Some(at("one").canonicalize().unwrap()));
    assert_eq!(after.command.directory, Some(at("two").canonicalize().unwrap()));
    assert_eq!(before.diff(&after).iter().map(|change| change.key).collect::<Vec<_>>(), ["directory"]);
}

#[test]
fn a_variable_that_was_removed_is_gone_from_the_next_plan() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    fs::write(dir.path().join("x.env"), "FROM_FILE=1\nBOTH=file\n").unwrap();
    fs::write(&file, "command = [\"x\"]\nenv-file = \"x.env\"\n[env]\nBOTH = \"table\"\nOLD = \"1\"\n")
        .unwrap();
    let names = |loaded: &Loaded| {
        let env = &loaded.plan.command.env;
        env.iter().map(|(k, v)| format!("{}={}", k.display(), v.display())).collect::<Vec<_>>()
    };
    assert_eq!(names(&load(dir.path()).unwrap()), ["BOTH=table", "FROM_FILE=1", "OLD=1"]);
    fs::write(dir.path().join("x.env"), "BOTH=file\n").unwrap();
    fs::write(&file, "command = [\"x\"]\nenv-file = \"x.env\"\n").unwrap();
    assert_eq!(names(&load(dir.path()).unwrap()), ["BOTH=file"]);
}

#[test]
fn a_secret_is_in_no_text_about_the_configuration() {
    let secret = "s3cr3t-canary";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.toml");
    let good = format!("command = [\"x\"]\n[env]\nTOKEN = \"{secret}\"\n[profile.p.env]\nT = \"{secret}\"\n");
    fs::write(&file, &good).unwrap();
    let loaded = load(dir.path()).unwrap();
    let shown = format!("{loaded:?}{}{:?}", loaded.warnings, loaded.effective());
    assert!(!shown.contains(secret), "{shown}");
}

#[test]
fn no_slip_of_the_keyboard_brings_a_secret_into_a_message() {
    let secret = "s3cr3t-canary";
    for good in [
        format!("command = [\"x\"]\n[env]\nTOKEN = \"{secret}\"\n[profile.p.env]\nT = '{secret}'\n"),
        format!(
            "env.A = \"{secret}\"\nprofile.p = {{ env = {{ B = \"{secret}\" }}, user = \"u\" }}\n[ready]\n"
        ),
        format!("[env]\nA = \"\"\"\nk = {secret}\n[{secret}]\n\"\"\"\nB = '{secret}'\n[stop]\ntimeout = 1\n"),
    ] {
        for at in 0..good.len() {
            for slip in ["", "\"", "'", "\n", "=", "[", "]", "}", "#", ".", " ", "x", "\u{1}", "é"] {
                let text = format!("{}{slip}{}", &good[..at], &good[at + usize::from(slip.is_empty())..]);
                let shown = match config::check_bytes(Path::new("app.toml"), text.as_bytes(), 1) {
                    Ok(loaded) => format!("{}{:?}", loaded.warnings, loaded.effective()),
                    Err(diagnostics) => diagnostics.to_string(),
                };
                assert!(!shown.contains(secret), "{text}\n{shown}");
            }
        }
    }
}

#[test]
fn masked_apps_are_not_among_the_known_ones() {
    let (high, low) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["web.toml", "api.toml", "old.toml", "bad name.toml", "note.txt"] {
        fs::write(low.path().join(name), "").unwrap();
    }
    fs::create_dir(low.path().join("dir.toml")).unwrap();
    symlink("/dev/null", high.path().join("old.toml")).unwrap();
    fs::write(high.path().join("api.toml"), "").unwrap();
    let dirs = Dirs::these(vec![high.path().to_owned(), low.path().to_owned(), "/nonexistent".into()]);
    let names: Vec<_> = config::known_apps(&dirs).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["api", "web"]);
}

#[test]
fn the_user_manager_has_directories_of_its_own() {
    use std::ffi::OsStr;
    let dirs = |config: Option<&str>, home: Option<&str>, run: Option<&str>| {
        Dirs::user(config.map(OsStr::new), home.map(OsStr::new), run.map(OsStr::new))
    };
    let these = |dirs: &[&str]| Dirs::these(dirs.iter().map(Into::into).collect());
    assert_eq!(dirs(Some("/c"), Some("/h"), Some("/r")), these(&["/c/ganger", "/r/ganger"]));
    assert_eq!(dirs(None, Some("/h"), None), these(&["/h/.config/ganger"]));
    assert_eq!(dirs(Some("relative"), Some("/h"), None), these(&["/h/.config/ganger"]));
    assert_eq!(dirs(None, None, None), these(&[]));
}

#[test]
fn an_argument_is_a_file_when_it_looks_like_a_path() {
    use std::ffi::OsStr;
    for (arg, file) in [("api", false), ("./api", true), ("api.toml", true), ("/x/y", true)] {
        let subject = Subject::from_arg(OsStr::new(arg)).unwrap();
        assert_eq!(matches!(subject, Subject::File(_)), file, "{arg}");
    }
    assert!(Subject::from_arg(OsStr::new("a b")).is_err());
}

/// A small deterministic generator (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).unwrap()
    }
}

fn check(bytes: &[u8]) {
    match config::check_bytes(Path::new("app.toml"), bytes, 4) {
        Ok(loaded) => {
            assert!((1..=ganger::plan::MAX_WORKERS).contains(&loaded.plan.workers));
            assert!(!loaded.plan.command.argv.is_empty());
        }
        Err(faults) => assert!(!faults.to_string().is_empty(), "{}", String::from_utf8_lossy(bytes)),
    }
}

#[test]
fn the_fuzzing_corpus_and_its_mutations_never_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
    let mut seeds: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 10);
    seeds.iter().for_each(|seed| check(seed));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let mut bytes = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(bytes.len() + 1);
            let other = &seeds[dice.roll(seeds.len())];
            match dice.roll(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(dice.roll(256)).unwrap()),
                2 => drop(bytes.drain(at..(at + dice.roll(8)).min(bytes.len()))),
                3 => {
                    let from = dice.roll(other.len());
                    let piece = other[from..(from + dice.roll(40)).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes.splice(at..at, *b"99999999999999999999").for_each(drop),
            }
        }
        check(&bytes);
    }
}
