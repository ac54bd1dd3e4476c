//! Commands that come to Node by way of programs that ganger cannot see through: the app takes its channel itself.
//! The package managers are the real ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::load::{Load, Pace, Running, Target};

use crate::app::{App, ganger, major, newest, path, prepared, until_all_answered, versions};
use crate::stage::{From, Run};

/// Answers with its slot; says what it sees of `cluster`, and what was left in its environment.
const SERVER: &str = "
const cluster = require('cluster');
console.log(`worker ${cluster.isWorker} ${cluster.worker && cluster.worker.id > 0} ${process.env.GANGER_ATTACH} ${process.env.NODE_UNIQUE_ID}`);
require('http').createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE)).listen(process.env.PORT);";
const API: &str = r#"{ "name": "api", "version": "1.0.0", "scripts": { "start": "node server.js" } }"#;
const ROOT: &str = r#"{
  "name": "root", "version": "1.0.0", "private": true, "workspaces": ["api"],
  "scripts": { "start": "node api/server.js", "api": "npm -w api start", "args": "node echo.js one" }
}"#;

/// A project with a workspace, and the real package managers in `PATH`.
fn project(version: &str, command: &str) -> App {
    let config = format!("command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 2\nprotocol = 'node'");
    let bin = |set: &str| prepared(&[set]).join(".bin").display().to_string();
    App::with(version, &config)
        .env("PATH", &format!("{}:{}:{}", bin("managers"), bin("tools"), path(version)))
        .env("HOME", "@DIR@")
        .file("package.json", ROOT)
        .file("pnpm-workspace.yaml", "packages: ['api']")
        .file("api/package.json", API)
        .file("api/server.js", SERVER)
}

/// Both workers serve, and leave.
#[track_caller]
fn serves(app: App, what: &str) -> Run {
    eprintln!("{what}");
    let run = app.serve();
    until_all_answered(&run, &["0", "1"]);
    assert!(run.all(From::Out).iter().any(|line| line.contains("worker true true undefined undefined")));
    run
}

#[test]
fn package_managers_that_cannot_be_seen_through_stay_and_the_app_serves() {
    for command in [
        "['npm', '-w', 'api', 'start']",
        "['npm', '--prefix', 'api', 'start']",
        "['npm', '-C', 'api', 'start']",
        "['npm', 'run', 'api']",
        "['pnpm', '--filter', 'api', 'start']",
        "['pnpm', '-C', 'api', 'start']",
        "['yarn', 'workspace', 'api', 'start']",
        "['yarn', '--cwd', 'api', 'start']",
        "['tsx', '--no-cache', 'api/server.js']",
    ] {
        let run = serves(project(&newest(), command), command);
        run.said("is run as it is and stays in memory with each worker");
        run.stop();
    }
}

#[test]
fn package_managers_that_can_be_seen_through_are_not_run() {
    for command in [
        "['pnpm', 'start']",
        "['yarn', 'start']",
        "['yarn', 'run', 'start']",
        "['pnpm', 'exec', 'node', 'api/server.js']",
        "['npm', 'exec', '--', 'node', 'api/server.js']",
    ] {
        let run = serves(project(&newest(), command), command);
        assert_eq!(run.left_behind().len(), 2, "{command}: two workers and nothing else");
        assert_eq!(run.count("is run as it is"), 0);
        run.stop();
    }
}

#[test]
fn words_behind_two_dashes_reach_the_script() {
    let server = "
require('http').createServer((_, response) => response.end(process.argv.slice(2).join(' '))).listen(process.env.PORT);";
    for command in ["['npm', 'run', 'args', '--', '--two', '3']", "['yarn', 'run', 'args', '--two', '3']"] {
        let run = project(&newest(), command).file("echo.js", server).serve();
        until_all_answered(&run, &["one --two 3"]);
        run.stop();
    }
}

#[test]
fn a_script_that_ends_in_whatever_launcher_serves() {
    for version in versions() {
        for line in [
            "node api/server.js",
            "exec node api/server.js",
            "npm start --silent",
            "pnpm --silent start",
            "yarn --silent start",
            "npx --no-install tsx api/server.js",
            "node --run start",
        ] {
            let too_old = line.contains("--run") && major(&version) < 22;
            // npm is the machine's own: it needs a Node of its time.
            if too_old || (line.starts_with("np") && major(&version) < 20) {
                continue;
            }
            let app = project(&version, "['sh', 'start.sh']").modules("tools").file("start.sh", line);
            serves(app, &format!("{version}: {line}")).stop();
        }
    }
}

#[test]
fn yarns_plug_and_play_serves() {
    let berry = prepared(&["berry"]).join("@yarnpkg/cli-dist/bin/yarn.js");
    let app = App::with(&newest(), "command = ['yarn', 'start']\nlisten = ['127.0.0.1:0']\nworkers = 2")
        .env("PATH", &format!("@DIR@/bin:{}", path(&newest())))
        .env("HOME", "@DIR@")
        .env("YARN_ENABLE_TELEMETRY", "0")
        .file("bin/yarn", &format!("#!/bin/sh\nexec node {} \"$@\"", berry.display()))
        .file("answer/package.json", r#"{ "name": "answer", "version": "1.0.0" }"#)
        .file("answer/index.js", "module.exports = (_, response) => response.end(process.env.NODE_APP_INSTANCE);")
        .file("server.js", &SERVER.replace("(_, response) => response.end(process.env.NODE_APP_INSTANCE)", "require('answer')"))
        .file("yarn.lock", "")
        .file(".yarnrc.yml", "nodeLinker: pnp\nenableGlobalCache: false\nenableNetwork: false")
        .file(
            "package.json",
            r#"{ "name": "shop", "dependencies": { "answer": "file:./answer" }, "scripts": { "start": "node server.js" } }"#,
        );
    let folder = app.stage.path("");
    std::fs::set_permissions(folder.join("bin/yarn"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut install = Command::new(prepared(&["node", &newest()]));
    install.arg(&berry).arg("install").current_dir(&folder).env("HOME", &folder);
    // In a CI, Yarn would not write the lock file.
    let output = install.env("YARN_ENABLE_IMMUTABLE_INSTALLS", "false").output().unwrap();
    assert!(output.status.success() && Path::new(&folder).join(".pnp.cjs").exists(), "{output:?}");
    let run = serves(app, "yarn with Plug'n'Play");
    run.said("yarn is run as it is");
    run.stop();
}

#[test]
fn a_program_of_a_package_is_a_worker_once_it_asks_for_cluster_or_listens() {
    let fork = "
const { isPrimary, fork } = require('node:cluster');
if (isPrimary) { fork(); fork(); } else { @SERVER@ }";
    let esm = "
import cluster from 'node:cluster';
import http from 'node:http';
console.log(`worker ${cluster.isWorker} ${cluster.worker.id > 0} ${process.env.GANGER_ATTACH} ${process.env.NODE_UNIQUE_ID}`);
http.createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE)).listen(process.env.PORT);";
    for version in versions() {
        let app = |file: &str, text: &str| {
            project(&version, &format!("['sh', '-c', 'node node_modules/web/{file}; exit $?']"))
                .file(&format!("node_modules/web/{file}"), text)
        };
        serves(app("cli.cjs", &fork.replace("@SERVER@", SERVER)), "a package that forks").stop();
        let late = "
require('http').createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE)).listen(process.env.PORT, () => {
  process.send('ready');
  console.log(`worker true true ${process.env.GANGER_ATTACH} ${process.env.NODE_UNIQUE_ID}`);
});";
        serves(app("late.cjs", late), "a package that listens").stop();
        if major(&version) >= 24 {
            serves(app("cli.mjs", esm), "a package of the other kind").stop();
        }
    }
}

#[test]
fn of_two_programs_the_first_is_the_worker_and_the_other_none() {
    // The second one comes when the first has been answered, and in one worker only: one that asks when all are
    // told to leave gets no answer, and the worker's shell would wait for it.
    let other = "
const worker = require('cluster').isWorker;
require('http').get({ port: process.env.PORT }, (answer) => answer.on('data', (slot) => console.log(`other ${worker} ${slot}`)));";
    let app = project(&newest(), "['sh', 'start.sh']")
        .file("start.sh", "node api/server.js &\nif [ $NODE_APP_INSTANCE = 0 ]; then read line < go; node other.js; fi\nwait")
        .file("other.js", other);
    nix::unistd::mkfifo(&app.stage.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let run = serves(app, "two programs");
    std::fs::write(run.path("go"), "now\n").unwrap();
    run.until(From::Out, "the other one", |line| line.contains("other false "));
    assert_eq!(run.count("is of no use any more"), 0);
    run.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(run.ended(), "exit 0");
    assert_eq!(run.left_behind(), [] as [u32; 0]);
}

#[test]
fn programs_that_end_before_the_app_leave_it_the_channel() {
    // A cluster worker may see that it is one, and Node's own sockets of clients are no servers.
    let look = "
if (!require('cluster').isWorker) throw new Error('no worker');
const client = require('dgram').createSocket('udp4');
client.send('x', 9, '127.0.0.1', () => client.close());
console.log('migrated');";
    let exits = format!("{look}\nprocess.on('message', () => {{}});\nsetImmediate(() => process.exit(0));");
    let package = r#"{ "name": "shop", "scripts": {
      "start": "node look.js && node exits.js && node api/server.js", "late": "node exits.js; node look.js; exec node api/server.js"
    } }"#;
    for version in versions() {
        for command in [
            "['sh', '-c', 'node look.js && node api/server.js']",
            "['npm', 'start']",
            "['npm', 'run', 'late']",
        ] {
            let app = project(&version, command).file("look.js", look).file("exits.js", &exits);
            let run = serves(app.file("package.json", package), &format!("{version}: {command}"));
            run.said_times(2, " is ready after ");
            assert!(run.all(From::Out).iter().any(|line| line.contains("migrated")));
            run.stop();
        }
    }
}

#[test]
fn a_program_that_waits_for_messages_only_stays() {
    let waits = "
process.on('message', (text) => console.log(`heard ${text}`));
process.send('ready');";
    for version in versions() {
        let app = project(&version, "['sh', 'start.sh']").file("start.sh", "node waits.js\nexit $?");
        let run = app.file("waits.js", waits).serve();
        for word in ["one", "two"] {
            ganger(&run, 0, &["send", "app", &format!("\"{word}\"")]);
            run.until(From::Out, word, |line| line.contains(&format!("heard {word}")));
        }
        assert_eq!(run.count(" is ready after "), 2);
        run.stop();
    }
}

#[test]
fn a_launcher_that_looks_for_a_free_port_is_not_the_worker() {
    let probe = "
const { createServer } = require('net');
const { createSocket } = require('dgram');
const { spawn } = require('child_process');
const ways = [[0], ['0'], [{ port: 0 }], [], [{ port: undefined }], [{ port: null, host: '127.0.0.1' }]];
const next = () => {
  const way = ways.shift();
  if (way) {
    const server = createServer().listen(...way, () => server.close(next));
  } else {
    const socket = createSocket('udp4').bind(() => socket.close());
    console.log(`launcher ${process.send === undefined}`);
    spawn(process.execPath, ['api/server.js'], { stdio: 'inherit' }).on('exit', (code) => process.exit(code));
  }
};
next();";
    for version in versions() {
        let app = project(&version, "['sh', '-c', 'node node_modules/probe/cli.js; exit $?']");
        let run = serves(app.file("node_modules/probe/cli.js", probe), &version);
        assert!(run.all(From::Out).iter().any(|line| line.contains("launcher true")));
        run.stop();
    }
}

#[test]
fn reloads_behind_a_package_manager_lose_nothing_and_wait_for_no_timer() {
    for version in versions() {
        // The timer would keep the process; ganger does not see the end of its channel, npm holds it, too.
        let server = format!("{SERVER}\nsetInterval(() => {{}}, 1000);");
        let line = if major(&version) < 20 { "yarn --silent start" } else { "npm start --silent" };
        let app = project(&version, "['sh', 'start.sh']").file("start.sh", &format!("{line}\nexit $?"));
        let patient = app.configured("[stop]\ntimeout = '300s'");
        let run = serves(patient.file("api/server.js", &server), line);
        let load =
            |connections| Load::new(Target::Tcp(run.address().parse().unwrap())).connections(connections);
        let loads = [load(3).start(), load(4).pace(Pace::Closed(Duration::from_millis(150))).start()];
        for _ in 0..2 {
            ganger(&run, 0, &["reload", "app", "--timeout", "60s"]);
        }
        let reports: Vec<_> = loads.into_iter().map(Running::stop).collect();
        assert!(reports.iter().all(|report| report.lost() == 0 && report.sent > 0), "{reports:?}");
        run.stop();
    }
}
