//! What a Node worker is started with: the command line that the configured one becomes, and what its
//! environment gets besides. Pure: whoever calls reads package.json.
//!
//! Launchers that are Node programs themselves (npm, npx, pnpm, yarn, tsx …) take the channel for their own
//! and the app never sees it. So they are not run: what they would run is. Where that cannot be known, and for
//! programs that are not Node, the channel goes by another way ([`ATTACH_FD`]).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::UniqueId;
use super::inspect::{self, Inspector};
use super::remark::{LaunchError, LaunchNote};
use super::scripts::{self, Package};

/// The descriptor of the channel. It must be this one: Node marks low descriptors close-on-exec at its start,
/// and a channel that leaks into what the app spawns never ends.
pub const CHANNEL_FD: i32 = 3;

/// The descriptor of the channel where programs that ganger does not know come before the app. Node marks
/// descriptors close-on-exec at its start up to the first closed one from 16 on, so this one comes through; the
/// attach preload takes it where the app is. The next one is a semaphore: who has it may.
pub const ATTACH_FD: i32 = 100;

/// Variables that must not reach a Node worker: descriptor 3 is its channel, not a socket.
pub const REMOVED: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NODE_CLUSTER_SCHED_POLICY"];

/// Options of Node whose value may be the next word, as far as people start servers with them.
pub(super) const VALUED: [&str; 14] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--env-file-if-exists",
    "--inspect-port",
    "--debug-port",
    "--title",
    "--disable-warning",
    "--max-http-header-size",
];
/// npm scripts that call npm scripts, so deep.
const MAX_SCRIPTS: u32 = 8;

/// What to start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    /// argv; the first one is looked up in `PATH` after `path_first`.
    pub argv: Vec<OsString>,
    /// To be put in front of `PATH`.
    pub path_first: Option<PathBuf>,
    /// Further variables (a script's own assignments, `npm_…`); the app's configured ones go before them.
    pub env: Vec<(OsString, OsString)>,
    /// `NODE_OPTIONS`: the app's, and a preload where argv has no place for it.
    pub node_options: OsString,
    /// The channel is on [`ATTACH_FD`], for whoever comes to serve.
    pub attach: bool,
    /// Where its inspector is to listen, when it may have one: each worker is told its port in `NODE_OPTIONS`.
    pub inspector: Option<Inspector>,
    /// Worth telling once per generation.
    pub notes: Vec<LaunchNote>,
}

/// What a launch depends on.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// The drain preload, when it is wanted.
    pub preload: Option<&'a Path>,
    /// The attach preload, when there is one.
    pub attach: Option<&'a Path>,
    /// The directory of the worker (and of package.json).
    pub directory: &'a Path,
    /// The text of package.json there, if there is one.
    pub package: Option<&'a str>,
    /// Yarn's Plug'n'Play is there in place of `node_modules`: only Yarn itself knows where packages are.
    pub plug_and_play: bool,
    /// `NODE_OPTIONS` of the configuration, which goes before a script's own.
    pub node_options: Option<&'a OsStr>,
    /// `NODE_OPTIONS` of ganger's environment, which goes behind.
    pub own_options: Option<&'a OsStr>,
}

/// How a worker comes to its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As under Node's own primary.
    Direct,
    /// By the attach preload.
    Attach {
        /// The stop signal's number; 0 for none.
        signal: i32,
        /// ganger's pid: a worker that is its child is alone with its channel.
        supervisor: u32,
    },
}

/// The variables of a cluster worker. Node, or the preload, takes them out of `process.env` before the app runs.
/// `port` is the only inherited TCP port, for `process.env.PORT` of an app that has none configured.
#[must_use]
pub fn environment(worker: UniqueId, way: Way, port: Option<u16>) -> Vec<(&'static str, OsString)> {
    let mut variables = match way {
        Way::Direct => vec![
            ("NODE_CHANNEL_FD", CHANNEL_FD.to_string().into()),
            ("NODE_CHANNEL_SERIALIZATION_MODE", "json".into()),
            ("NODE_UNIQUE_ID", worker.to_string().into()),
        ],
        Way::Attach { signal, supervisor } => {
            vec![("GANGER_ATTACH", format!("{ATTACH_FD}:{worker}:{signal}:{supervisor}").into())]
        }
    };
    variables.extend(port.map(|port| ("PORT", port.to_string().into())));
    variables
}

/// Whether a command is one that `protocol = "node"` is for.
#[must_use]
pub fn is_node_command(argv: &[OsString]) -> bool {
    argv.first().is_some_and(|program| {
        let name = name_of(program);
        is_node(&name) || matches!(name.as_str(), "tsx" | "ts-node" | "deno") || scripts::is_launcher(&name)
    })
}

/// Whether it is Deno, which serves with `balance = "round-robin"` only.
#[must_use]
pub fn is_deno(program: &OsStr) -> bool {
    name_of(program) == "deno"
}

/// The command to start for a configured one.
///
/// # Errors
/// When it can be no cluster worker; the error names the way out.
pub fn launch(argv: &[OsString], setting: &Setting<'_>) -> Result<Launch, LaunchError> {
    let mut launch = Launch { argv: argv.to_vec(), ..Launch::default() };
    for _ in 0..MAX_SCRIPTS {
        let program = launch.argv.first().map(|program| name_of(program)).unwrap_or_default();
        if setting.plug_and_play && scripts::is_launcher(&program) && setting.attach.is_some() {
            return Ok(as_it_is(launch, program, setting));
        }
        let of_script =
            launch.env.iter().rfind(|(name, _)| name == "NODE_OPTIONS").map(|(_, value)| value.as_os_str());
        launch.node_options =
            setting.node_options.or(of_script).or(setting.own_options).unwrap_or_default().to_owned();
        match step(&mut launch, &program, setting) {
            Ok(Step::Again) => {}
            Ok(Step::Node) => return node(launch, setting),
            Ok(Step::Deno) => {
                launch.notes.push(LaunchNote::Deno);
                return Ok(launch);
            }
            Ok(Step::Other) => return Ok(by_environment(launch, setting)),
            Err(error) => {
                let unknown = match &error {
                    LaunchError::Option { .. } => true,
                    // pnpm and yarn run programs by their bare name, too.
                    LaunchError::NoSuchScript(name) => {
                        !name.is_empty() && launch.argv.get(1).is_some_and(|word| *word == **name)
                    }
                    LaunchError::NoScript
                    | LaunchError::Supervisor(_)
                    | LaunchError::Mode(_)
                    | LaunchError::Bun
                    | LaunchError::Package { .. }
                    | LaunchError::Ring(_) => false,
                };
                if unknown && setting.attach.is_some() {
                    return Ok(as_it_is(launch, program, setting));
                }
                return Err(error);
            }
        }
    }
    Err(LaunchError::Ring(
        launch.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
    ))
}

/// What a command turns out to be.
enum Step {
    /// Another command, which stands in its place now.
    Again,
    /// Node with a script.
    Node,
    /// Deno.
    Deno,
    /// A program that is none of these.
    Other,
}

fn step(launch: &mut Launch, program: &str, setting: &Setting<'_>) -> Result<Step, LaunchError> {
    let arguments = words(launch);
    match program {
        "bun" | "bunx" => return Err(LaunchError::Bun),
        "deno" => return Ok(Step::Deno),
        "nodemon" | "node-dev" | "ts-node-dev" | "tsnd" | "pm2" | "pm2-runtime" | "forever"
        | "concurrently" => {
            return Err(LaunchError::Supervisor(program.to_owned()));
        }
        "tsx" => launch.argv = with_loader("tsx", ["--import", "tsx"], &launch.argv, &arguments)?,
        "ts-node" => {
            launch.argv =
                with_loader("ts-node", ["--require", "ts-node/register"], &launch.argv, &arguments)?;
        }
        name if is_node(name) => match scripts::node_run(&arguments)? {
            Some(wanted) => package(setting, "node --run")?.expand(&wanted, setting, launch)?,
            None => return Ok(Step::Node),
        },
        name if scripts::is_launcher(name) => match scripts::wanted(name, &arguments)? {
            scripts::Wanted::Script(script) => package(setting, name)?.expand(&script, setting, launch)?,
            scripts::Wanted::Program(argv) => {
                launch.argv = argv.into_iter().map(OsString::from).collect();
                launch.path_first = Some(setting.directory.join("node_modules/.bin"));
            }
        },
        _ => return Ok(Step::Other),
    }
    Ok(Step::Again)
}

/// All but the program.
fn words(launch: &Launch) -> Vec<String> {
    launch.argv.iter().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn package(setting: &Setting<'_>, launcher: &str) -> Result<Package, LaunchError> {
    let error = |reason| LaunchError::Package { launcher: launcher.to_owned(), reason };
    let text = setting.package.ok_or_else(|| error(format!("{} has none", setting.directory.display())))?;
    Package::parse(text).map_err(|reason| error(format!("it cannot be read ({reason})")))
}

/// A plain `node` command: the preload goes before the app's own options, the inspector's port out of them.
fn node(mut launch: Launch, setting: &Setting<'_>) -> Result<Launch, LaunchError> {
    let arguments = words(&launch);
    let options = count_options(&arguments);
    let (own, _) = arguments.split_at_checked(options).unwrap_or((&arguments, &[]));
    for option in own {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        match name {
            "-e" | "--eval" | "-p" | "--print" | "-pe" | "-i" | "--interactive" | "-" => {
                return Err(LaunchError::NoScript);
            }
            "--watch" | "--watch-path" => return Err(LaunchError::Supervisor(format!("node {name}"))),
            "--test" | "--check" | "-c" | "--v8-options" | "--version" | "-v" | "--help" | "-h" => {
                return Err(LaunchError::Mode(option.clone()));
            }
            _ => {}
        }
    }
    if options == arguments.len() {
        return Err(LaunchError::NoScript);
    }
    let by_environment = inspect::words_of(&launch.node_options);
    launch.inspector = Inspector::asked_for(by_environment.iter().chain(own).map(String::as_str));
    let given = std::mem::take(&mut launch.argv);
    let mut given = given.into_iter();
    launch.argv.extend(given.next());
    if let Some(preload) = setting.preload {
        launch.argv.extend([OsString::from("--require"), preload.into()]);
    }
    launch.argv.extend(inspect::without_ports(given.by_ref().take(options)));
    launch.argv.extend(given);
    Ok(launch)
}

/// How many of Node's arguments are its own options, with their values.
fn count_options(arguments: &[String]) -> usize {
    let mut is_value = false;
    let is_option = |argument: &&String| {
        let was_value = is_value;
        is_value = !was_value && VALUED.contains(&argument.as_str());
        was_value || (argument.starts_with('-') && *argument != "--")
    };
    arguments.iter().take_while(is_option).count()
}

fn with_loader(
    name: &str,
    loader: [&str; 2],
    argv: &[OsString],
    arguments: &[String],
) -> Result<Vec<OsString>, LaunchError> {
    match arguments.first().map(String::as_str) {
        None => return Err(LaunchError::NoScript),
        Some("watch") if name == "tsx" => return Err(LaunchError::Supervisor("tsx watch".to_owned())),
        Some(option) if option.starts_with('-') => {
            return Err(LaunchError::Option { launcher: name.to_owned(), option: option.to_owned() });
        }
        Some(_) => {}
    }
    let front = ["node", loader[0], loader[1]].map(OsString::from);
    Ok(front.into_iter().chain(argv.iter().skip(1).cloned()).collect())
}

/// A launcher whose words ganger does not understand.
fn as_it_is(mut launch: Launch, program: String, setting: &Setting<'_>) -> Launch {
    launch.notes.push(LaunchNote::Launcher(program));
    by_environment(launch, setting)
}

/// Some other program that starts Node in the end (a shell, `env`, a package's own command): the preloads
/// travel by the environment. They do nothing in processes that are no workers.
fn by_environment(mut launch: Launch, setting: &Setting<'_>) -> Launch {
    let option = |path: &Path| {
        let path = path.to_str()?;
        let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
        Some(if path == quoted && !path.contains(' ') {
            format!("--require {path}")
        } else {
            format!("--require \"{quoted}\"")
        })
    };
    // What a script says of an inspector is not to be seen from here.
    let by_environment = inspect::words_of(&launch.node_options);
    launch.inspector = Inspector::asked_for(by_environment.iter().map(String::as_str))
        .or_else(|| words(&launch).concat().contains("--inspect").then(Inspector::default));
    let attach = setting.attach.and_then(option);
    launch.attach = attach.is_some();
    if launch.attach {
        launch.env.extend(setting.preload.map(|preload| ("GANGER_DRAIN".into(), preload.into())));
    }
    if let Some(ours) = attach.or_else(|| setting.preload.and_then(option)) {
        launch.node_options = with_option(&launch.node_options, &ours);
    }
    launch
}

/// `NODE_OPTIONS` with a further one.
#[must_use]
pub fn with_option(options: &OsStr, further: &str) -> OsString {
    let gap = if options.is_empty() { "" } else { " " };
    [options, OsStr::new(gap), OsStr::new(further)].into_iter().collect()
}

fn name_of(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

/// `node`, `nodejs`, `node22`, `node-22`.
fn is_node(name: &str) -> bool {
    let version = name.strip_prefix("nodejs").or_else(|| name.strip_prefix("node"));
    version.is_some_and(|version| {
        version.trim_start_matches('-').chars().all(|letter| letter.is_ascii_digit() || letter == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = r#"{
        "name": "shop", "version": "1.2.3",
        "scripts": {
            "start": "NODE_ENV=production node --max-old-space-size=512 server.js",
            "prestart": "npm run build", "build": "tsc",
            "serve": "npm run start -- --port 1", "next": "next start -p 3000", "loop": "npm run loop",
            "shell": "node a.js && node b.js", "ts": "cross-env A=1 tsx src/server.ts", "dev": "nodemon a.js",
            "inspected": "NODE_OPTIONS=--inspect=2 node a.js", "wrapped": "NODE_OPTIONS=--inspect=5 next start"
        }
    }"#;

    fn bare() -> Setting<'static> {
        Setting {
            preload: Some(Path::new("/p.cjs")),
            attach: Some(Path::new("/a.cjs")),
            directory: Path::new("/srv/shop"),
            package: Some(PACKAGE),
            plug_and_play: false,
            node_options: None,
            own_options: None,
        }
    }

    fn run(command: &str) -> Result<Launch, LaunchError> {
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        launch(&argv, &Setting { plug_and_play: command.contains("pnp.js"), ..bare() })
    }

    fn line(launch: &Launch) -> String {
        launch.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_preload_goes_before_the_apps_own_options() {
        for (given, becomes) in [
            ("node server.js --port 1", "node --require /p.cjs server.js --port 1"),
            ("/opt/node/bin/node --import tsx a.ts", "/opt/node/bin/node --require /p.cjs --import tsx a.ts"),
            ("node22 a.js -e", "node22 --require /p.cjs a.js -e"),
            ("tsx src/a.ts x", "node --require /p.cjs --import tsx src/a.ts x"),
            ("ts-node a.ts", "node --require /p.cjs --require ts-node/register a.ts"),
        ] {
            assert_eq!(line(&run(given).unwrap()), becomes);
        }
    }

    #[test]
    fn the_inspectors_port_is_taken_out_of_the_command() {
        for (given, becomes, place) in [
            ("node --inspect a.js", "--inspect a.js", Some("127.0.0.1:9229")),
            ("node --inspect=0.0.0.0:9300 a.js", "--inspect a.js", Some("0.0.0.0:9300")),
            (
                "node --import tsx --inspect-brk a.ts",
                "--import tsx --inspect-brk a.ts",
                Some("127.0.0.1:9229"),
            ),
            ("node --inspect-port 9400 a.js", "a.js", Some("127.0.0.1:9400")),
            ("node a.js --inspect=9400", "a.js --inspect=9400", None),
        ] {
            let launch = run(given).unwrap();
            assert_eq!(line(&launch), format!("node --require /p.cjs {becomes}"));
            let place = place.map(|place| format!("--inspect-port={place}"));
            assert_eq!(
                launch.inspector.map(|inspector| inspector.option(inspector.port(0, 1, &[].into()))),
                place
            );
        }
    }

    #[test]
    fn the_inspector_is_asked_for_by_node_options_as_well_and_the_nearest_to_the_app_holds() {
        let asked = |configured: Option<&str>, command: &str| {
            let setting = Setting {
                node_options: configured.map(OsStr::new),
                own_options: Some(OsStr::new("--inspect=1")),
                ..bare()
            };
            let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
            let launch = launch(&argv, &setting).unwrap();
            let inspector = launch.inspector.unwrap();
            (launch.node_options.into_string().unwrap(), inspector.port(0, 1, &[].into()))
        };
        assert_eq!(asked(None, "node a.js"), ("--inspect=1".into(), 1));
        assert_eq!(asked(None, "npm run inspected"), ("--inspect=2".into(), 2));
        assert_eq!(asked(Some("--inspect=3"), "npm run inspected"), ("--inspect=3".into(), 3));
        assert_eq!(asked(Some("--inspect=3"), "node --inspect=4 a.js"), ("--inspect=3".into(), 4));
        assert_eq!(asked(None, "npm run wrapped"), ("--inspect=5 --require /a.cjs".into(), 5));
    }

    #[test]
    fn scripts_of_package_json_run_without_their_launcher() {
        let bare = "node --require /p.cjs --max-old-space-size=512 server.js";
        for given in
            ["npm start", "npm run start", "pnpm start", "yarn start", "yarn run start", "node --run start"]
        {
            let launch = run(given).unwrap();
            assert_eq!(line(&launch), bare, "{given}");
            assert!(launch.env.contains(&("NODE_ENV".into(), "production".into())));
            assert_eq!(launch.path_first, Some("/srv/shop/node_modules/.bin".into()));
        }
        assert_eq!(line(&run("npm run serve").unwrap()), format!("{bare} --port 1"));
        assert_eq!(line(&run("npm run ts").unwrap()), "node --require /p.cjs --import tsx src/server.ts");
        assert!(run("npm start").unwrap().notes.contains(&LaunchNote::PreScript("prestart".into())));
    }

    #[test]
    fn a_script_that_needs_a_shell_gets_one_and_the_preloads_by_the_environment() {
        let launch = run("npm run shell").unwrap();
        assert_eq!(launch.argv, ["sh", "-c", "node a.js && node b.js"]);
        assert_eq!(launch.node_options, "--require /a.cjs");
        assert!(launch.attach && launch.env.contains(&("GANGER_DRAIN".into(), "/p.cjs".into())));
        let launch = run("npx next start").unwrap();
        assert_eq!(line(&launch), "next start");
        assert_eq!(launch.path_first, Some("/srv/shop/node_modules/.bin".into()));
    }

    #[test]
    fn a_launcher_that_cannot_be_seen_through_is_run_as_it_is_and_the_channel_goes_round_it() {
        for given in [
            "npm --prefix x start",
            "npm -w api start",
            "pnpm --filter api start",
            "yarn workspace api start",
            "yarn vite preview",
            "tsx --env-file a.env a.ts",
            "yarn start pnp.js",
        ] {
            let launch = run(given).unwrap();
            let program = given.split(' ').next().unwrap().to_owned();
            assert_eq!((line(&launch).as_str(), launch.attach), (given, true));
            assert_eq!(launch.notes, [LaunchNote::Launcher(program)]);
        }
        assert!(!run("npm start").unwrap().attach);
    }

    #[test]
    fn without_its_preload_a_launcher_is_refused_and_a_shell_keeps_the_channel() {
        let setting =
            Setting { preload: Some(Path::new("/a b/\"p\".cjs")), attach: None, package: None, ..bare() };
        let run = |words: &[&str]| launch(&words.iter().map(OsString::from).collect::<Vec<_>>(), &setting);
        assert!(matches!(run(&["npm", "--prefix", "x", "start"]), Err(LaunchError::Option { .. })));
        let shell = run(&["sh", "start.sh"]).unwrap();
        assert!(!shell.attach);
        assert_eq!(shell.node_options, r#"--require "/a b/\"p\".cjs""#);
    }

    #[test]
    fn what_cannot_work_says_what_can() {
        assert_eq!(run("node -e 1"), Err(LaunchError::NoScript));
        assert_eq!(run("node"), Err(LaunchError::NoScript));
        assert_eq!(run("bun a.js"), Err(LaunchError::Bun));
        assert_eq!(run("npm run dev"), Err(LaunchError::Supervisor("nodemon".into())));
        assert_eq!(run("node --watch a.js"), Err(LaunchError::Supervisor("node --watch".into())));
        let text = run("npm run dev").unwrap_err().to_string();
        assert!(text.ends_with("name the app's own command; for development start nodemon without ganger"));
        assert_eq!(run("npm run nothing"), Err(LaunchError::NoSuchScript("nothing".into())));
        assert!(matches!(run("npm run loop"), Err(LaunchError::Ring(_))));
        assert_eq!(run("deno run a.ts").unwrap().notes, [LaunchNote::Deno]);
    }

    #[test]
    fn a_node_command_is_known_by_its_program() {
        let is = |text: &str| is_node_command(&[OsString::from(text)]);
        for program in ["node", "nodejs", "/usr/bin/node20", "npm", "pnpm", "yarn", "npx", "tsx"] {
            assert!(is(program), "{program}");
        }
        for program in ["nodemanager", "python3", "sh", "bun"] {
            assert!(!is(program), "{program}");
        }
    }
}
