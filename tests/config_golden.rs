//! What a person is told about a configuration: each folder of `tests/golden/config` holds a small file
//! system and `expected.txt`; `UPDATE=1` rewrites the latter. A `request` file says what is asked for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ganger::config::{self, Dirs, Flags, Loaded, Request, Subject};
use ganger::plan::AppName;

/// One folder's question.
struct Case {
    root: PathBuf,
    subject: Option<Subject>,
    profile: Option<String>,
    cpus: u32,
    flags: Flags,
    show_plan: bool,
    colour: bool,
}

impl Case {
    fn read(root: &Path) -> Self {
        let mut case = Self {
            root: root.to_owned(),
            subject: Some(Subject::App(AppName::new("app").unwrap())),
            profile: None,
            cpus: 4,
            flags: Flags::default(),
            show_plan: false,
            colour: false,
        };
        for line in fs::read_to_string(root.join("request")).unwrap_or_default().lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "app" => case.subject = Some(Subject::App(AppName::new(rest).unwrap())),
                "file" => case.subject = Some(Subject::from_arg(root.join(rest).as_os_str()).unwrap()),
                "flags-only" => case.subject = None,
                "profile" => case.profile = Some(rest.to_owned()),
                "cpus" => case.cpus = rest.parse().unwrap(),
                "listen" => case.flags.listen.push(rest.to_owned()),
                "workers" => case.flags.workers = Some(rest.to_owned()),
                "ready" => case.flags.ready = Some(rest.to_owned()),
                "command" => case.flags.command = rest.split(' ').map(OsString::from).collect(),
                "show-plan" => case.show_plan = true,
                "colour" => case.colour = true,
                other => panic!("{}: unknown request {other:?}", root.display()),
            }
        }
        case
    }

    fn run(&self) -> String {
        let loaded = match &self.subject {
            None => config::from_flags(&self.flags, self.cpus),
            Some(subject) => config::load(&Request {
                subject: subject.clone(),
                dirs: Dirs::these(["etc", "run", "usr"].map(|dir| self.root.join(dir)).to_vec()),
                profile: self.profile.clone(),
                cpus: self.cpus,
                flags: self.flags.clone(),
            }),
        };
        let text = match loaded {
            Ok(loaded) => self.describe(&loaded),
            Err(diagnostics) => {
                let not_found = if diagnostics.is_not_found() { "not found\n" } else { "" };
                format!("{}{not_found}", diagnostics.render(self.colour))
            }
        };
        text.replace(&format!("{}/", self.root.display()), "")
    }

    fn describe(&self, loaded: &Loaded) -> String {
        let mut text = loaded.warnings.render(self.colour);
        let plan = &loaded.plan;
        writeln!(text, "ok: {}, {} workers, {:?}", plan.app, plan.workers, plan.protocol).unwrap();
        for file in &loaded.files {
            writeln!(text, "read {}", file.display()).unwrap();
        }
        for key in loaded.effective().iter().filter(|key| key.origin != "default") {
            writeln!(text, "{} = {}  # {}", key.key, key.value, key.origin).unwrap();
        }
        if self.show_plan {
            writeln!(text, "{plan:#?}").unwrap();
        }
        text
    }
}

#[test]
fn every_folder_gives_its_expected_text() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config");
    let mut roots: Vec<_> = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    roots.sort();
    assert!(roots.len() >= 30, "folders are missing: {roots:?}");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    for root in roots {
        let expected_path = root.join("expected.txt");
        let text = Case::read(&root).run();
        if update {
            fs::write(&expected_path, &text).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if text != expected {
            writeln!(wrong, "--- {}\n{text}--- expected\n{expected}", root.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
