//! How text becomes a [`Plan`]: files and drop-ins are found, read, merged and checked.
//!
//! What comes out is believed by everyone behind it; what does not pass comes out as [`Diagnostics`], all
//! faults of all files at once. Directories, the number of CPUs and the profile are arguments: this room
//! reads files, and nothing else of the machine. The keys stand in one table, [`KEYS`].
//!
//! Layers, the later over the earlier: defaults, the main file, drop-ins, the selected profile of all
//! these files, flags of the command line.

mod address;
mod build;
mod check;
mod diagnostic;
mod environment;
mod excerpt;
mod keys;
mod kind;
mod listen;
mod loaded;
mod naming;
mod near;
mod probe;
mod runtime;
mod scan;
mod search;
mod settings;
mod shell;
mod signal;
mod source;
mod value;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::plan::{AppName, NameError, Plan};

use build::Builder;
use diagnostic::{At, Complaint, Report};
use scan::Fragment;
use settings::Layer;
use source::Sources;
use value::{Value, What};

pub use build::default_protocol;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use keys::{KEYS, Key, Standard};
pub use kind::Kind;
pub use loaded::{EffectiveKey, Loaded};
pub use runtime::is_node_command;
pub use search::{Dirs, known_apps};

/// Which configuration is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The app of this name, looked for in the directories.
    App(AppName),
    /// This file; the app has the file's name without `.toml`.
    File(PathBuf),
}

impl Subject {
    /// What `ganger run ARG` means by `ARG`: a file when it has a slash or ends with `.toml`.
    ///
    /// # Errors
    /// When `arg` is neither a path nor a name.
    pub fn from_arg(arg: &OsStr) -> Result<Self, NameError> {
        let path = Path::new(arg);
        match arg.to_str() {
            Some(name) if !name.contains('/') && path.extension() != Some(OsStr::new("toml")) => {
                AppName::new(name).map(Self::App)
            }
            _ => Ok(Self::File(path.to_owned())),
        }
    }
}

/// Settings of the command line; they stand above every file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--name`: of the app, in place of its file's or its command's.
    pub name: Option<AppName>,
    /// `--listen`, in the grammar of the `listen` key; replaces the files' addresses when not empty.
    pub listen: Vec<String>,
    /// `--workers`, in the grammar of the `workers` key.
    pub workers: Option<String>,
    /// `--ready`, a word of `ready.when`.
    pub ready: Option<String>,
    /// The words after `--`; they replace `command` when not empty.
    pub command: Vec<OsString>,
}

/// What to load, and what the machine is like.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which configuration.
    pub subject: Subject,
    /// Where apps are looked for.
    pub dirs: Dirs,
    /// `--profile`: goes before `use-profile`.
    pub profile: Option<String>,
    /// How many CPUs this process may use (affinity and `cpu.max` considered).
    pub cpus: u32,
    /// Flags of the command line.
    pub flags: Flags,
}

/// Finds, reads, merges and checks a configuration.
///
/// # Errors
/// Every fault of every file; [`Diagnostics::is_not_found`] tells a missing app from a faulty one.
pub fn load(request: &Request) -> Result<Loaded, Diagnostics> {
    let mut load = Load::new(request.cpus);
    let (app, found) = match &request.subject {
        Subject::App(name) => match search::app(name, &request.dirs, &mut load.report) {
            Ok(found) => (name.clone(), found),
            Err(complaint) => {
                load.report.add(*complaint);
                return Err(Diagnostics::not_found(load.report, &load.sources));
            }
        },
        Subject::File(path) => match app_of_file(path) {
            Ok(app) => (request.flags.name.clone().unwrap_or(app), search::file(path, &mut load.report)),
            Err(complaint) => return Err(load.fail(*complaint)),
        },
    };
    let mut missing = false;
    let files: Vec<&Path> =
        std::iter::once(&found.main).chain(&found.drop_ins).map(PathBuf::as_path).collect();
    for path in files {
        match source::read(path) {
            Ok(bytes) => load.file(path, bytes),
            Err(error) => {
                missing |= path == found.main && error.is_not_found();
                let complaint = error.complain(path, "the configuration");
                load.report.add(match path.read_link() {
                    Ok(target) => complaint.hint(format!("it is a symbolic link to {}", target.display())),
                    Err(_) => complaint,
                });
            }
        }
    }
    if missing {
        return Err(Diagnostics::not_found(load.report, &load.sources));
    }
    load.finish(app, At::Path(found.main, None), request.profile.as_deref(), &request.flags)
}

/// Makes a plan from the command line alone; without a name the app is called as its program, or as its script when
/// that is an interpreter.
///
/// # Errors
/// Every flag that does not pass.
pub fn from_flags(flags: &Flags, cpus: u32) -> Result<Loaded, Diagnostics> {
    let load = Load::new(cpus);
    match flags.name.clone().or_else(|| naming::of_command(&flags.command)) {
        Some(app) => load.finish(app, At::Flag("--"), None, flags),
        None => Err(load.fail(Complaint::error(At::Flag("--"), "the command makes no app's name"))),
    }
}

/// Checks bytes as the text of one file without drop-ins, as if `path` held them.
///
/// # Errors
/// Every fault of the text.
pub fn check_bytes(path: &Path, bytes: &[u8], cpus: u32) -> Result<Loaded, Diagnostics> {
    let mut load = Load::new(cpus);
    let app = match app_of_file(path) {
        Ok(app) => app,
        Err(complaint) => return Err(load.fail(*complaint)),
    };
    load.file(path, bytes.to_vec());
    load.finish(app, At::Path(path.to_owned(), None), None, &Flags::default())
}

/// The app that a file is for.
fn app_of_file(path: &Path) -> Result<AppName, Box<Complaint>> {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = name.strip_suffix(".toml").unwrap_or(name);
    AppName::new(name).map_err(|error| {
        let message = format!("the file's name makes no app's name: `{name}`");
        Box::new(Complaint::error(At::Path(path.to_owned(), None), message).expected(error.to_string()))
    })
}

/// One load in progress.
struct Load {
    sources: Sources,
    report: Report,
    fragments: Vec<Fragment>,
    cpus: u32,
}

impl Load {
    fn new(cpus: u32) -> Self {
        Self { sources: Sources::default(), report: Report::default(), fragments: Vec::new(), cpus }
    }

    fn fail(mut self, complaint: Complaint) -> Diagnostics {
        self.report.add(complaint);
        self.report.finish(&self.sources)
    }

    /// Takes the next file in.
    fn file(&mut self, path: &Path, bytes: Vec<u8>) {
        let text = match source::text_of(path, bytes) {
            Ok(text) => text,
            Err(complaint) => return self.report.add(*complaint),
        };
        let file = self.sources.add(path.to_owned(), text.clone());
        match value::parse(file, &text) {
            Ok(entries) => {
                let fragment = scan::scan(file, &entries, &mut self.sources, &mut self.report);
                self.fragments.push(fragment);
            }
            // What a parser makes of the rest of a broken file would only be noise.
            Err(complaints) => complaints.into_iter().for_each(|complaint| self.report.add(complaint)),
        }
    }

    /// Merges the files, the profile and the flags, and makes the plan.
    fn finish(
        mut self,
        app: AppName,
        main: At,
        profile: Option<&str>,
        flags: &Flags,
    ) -> Result<Loaded, Diagnostics> {
        let mut settings = Layer::default();
        let fragments = std::mem::take(&mut self.fragments);
        for fragment in &fragments {
            settings.cover(fragment.base.clone());
        }
        let profile = match profile {
            Some(name) => Some((name.to_owned(), At::Flag("--profile"))),
            None => settings.text("use-profile").map(|name| (name, settings.at("use-profile"))),
        };
        if let Some((name, at)) = &profile {
            self.check_profile(name, at, &fragments);
            for layer in fragments.iter().filter_map(|fragment| fragment.profiles.get(name)) {
                settings.cover(layer.clone());
            }
        }
        settings.cover(self.flags(flags));
        let mut builder = Builder {
            settings: &settings,
            sources: &self.sources,
            report: &mut self.report,
            cpus: self.cpus,
            main,
        };
        let mut plan: Plan = builder.plan(app);
        if !flags.command.is_empty() {
            // The checks above see text; the words may be any bytes.
            plan.command.argv.clone_from(&flags.command);
        }
        let failed = self.report.has_errors();
        let diagnostics = self.report.finish(&self.sources);
        if failed {
            return Err(diagnostics);
        }
        let effective = loaded::effective(&settings, &self.sources, &plan);
        Ok(Loaded {
            plan,
            files: self.sources.paths(),
            profile: profile.map(|(name, _)| name),
            warnings: diagnostics,
            effective,
        })
    }

    fn check_profile(&mut self, name: &str, at: &At, fragments: &[Fragment]) {
        let names: Vec<&str> =
            fragments.iter().flat_map(|fragment| fragment.profiles.keys()).map(String::as_str).collect();
        if names.contains(&name) {
            return;
        }
        let complaint = Complaint::error(at.clone(), format!("there is no table [profile.{name}]"));
        self.report.add(match near::nearest(name, names.iter().copied()) {
            Some(near) => complaint.hint(format!("did you mean \"{near}\"?")),
            None => complaint,
        });
    }

    fn flags(&mut self, flags: &Flags) -> Layer {
        let mut layer = Layer::default();
        let list = |flag, texts: &[String]| {
            What::List(texts.iter().map(|text| Value::text(At::Flag(flag), text)).collect())
        };
        let mut set = |flag, path, what| scan::flag(flag, path, what, &mut layer, &mut self.report);
        if !flags.listen.is_empty() {
            set("--listen", "listen", list("--listen", &flags.listen));
        }
        if let Some(workers) = &flags.workers {
            set("--workers", "workers", What::Text(workers.clone()));
        }
        if let Some(ready) = &flags.ready {
            set("--ready", "ready.when", What::Text(ready.clone()));
        }
        if !flags.command.is_empty() {
            let words: Vec<String> =
                flags.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            set("--", "command", list("--", &words));
        }
        layer
    }
}
