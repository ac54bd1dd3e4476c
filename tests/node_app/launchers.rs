//! Commands as people have them: launchers that are Node programs themselves are not run, what they would run is.

use crate::app::{App, newest, until_all_answered};
use crate::stage::{From, Run};

const SERVER: &str = "
require('http').createServer((_, response) => response.end(process.env.NODE_APP_INSTANCE))
  .listen(process.env.PORT || 3000);";
const PACKAGE: &str = r#"{
  "name": "app", "version": "1.0.0",
  "scripts": {
    "prestart": "touch prestart-was-run",
    "start": "NODE_ENV=production node server.js",
    "piped": "echo started && node server.js",
    "typed": "tsx server.ts",
    "nested": "npm run start"
  }
}"#;

fn app(command: &str) -> App {
    let config = format!("command = {command}\nlisten = ['127.0.0.1:0']\nworkers = 2");
    App::with(&newest(), &config)
        .modules("tools")
        .file("server.js", SERVER)
        .file("server.ts", &SERVER.replace("(_, response)", "(_: unknown, response: any)"))
        .file("package.json", PACKAGE)
}

#[track_caller]
fn serves(command: &str) -> Run {
    eprintln!("{command}");
    let run = app(command).serve();
    until_all_answered(&run, &["0", "1"]);
    run
}

#[test]
fn package_managers_run_the_script_without_staying() {
    for command in ["['npm', 'start']", "['yarn', 'start']", "['pnpm', 'run', 'start']"] {
        let run = serves(command);
        run.said("running the script \"start\" of package.json without its launcher");
        run.said("the script \"prestart\" is not run");
        assert!(!run.path("prestart-was-run").exists());
        run.stop();
    }
}

#[test]
fn scripts_that_name_scripts_or_need_a_shell_serve() {
    for command in ["['npm', 'run', 'nested']", "['npm', 'run', 'piped']", "['node', '--run', 'start']"] {
        serves(command).stop();
    }
}

#[test]
fn typescript_by_tsx_serves_however_it_is_called() {
    for command in ["['tsx', 'server.ts']", "['npx', 'tsx', 'server.ts']", "['npm', 'run', 'typed']"] {
        serves(command).stop();
    }
}

#[test]
fn shells_and_small_wrappers_pass_the_channel_on() {
    for command in [
        "['sh', '-c', 'exec node server.js']",
        "['env', 'X=1', 'nice', 'node', 'server.js']",
        "['@DIR@/first-line']",
        "['@DIR@/start.sh']",
    ] {
        eprintln!("{command}");
        let run = app(command)
            .executable("first-line", &format!("#!/usr/bin/env node\n{SERVER}"))
            .executable("start.sh", "#!/bin/sh\nset -e\ncd \"$(dirname \"$0\")\"\nnode server.js\n")
            .serve();
        until_all_answered(&run, &["0", "1"]);
        run.stop();
    }
}

#[test]
fn a_shell_that_serves_with_another_program_keeps_its_descriptors() {
    let server = "import select, socket\nserver = socket.socket(fileno=3)\npoll = select.epoll()\n\
                  poll.register(server)\npoll.poll()";
    let run = app("['sh', '-c', 'node --version; exec python3 server.py']").file("server.py", server).start();
    run.said_times(2, " is ready after ");
    run.stop();
}

/// It is refused; what the log says is in one line with the way out.
#[track_caller]
fn refused(command: &str, text: &str) {
    eprintln!("{command}");
    let run = app(command).start();
    let line = run.said(text);
    assert!(line.contains("worker 0") || line.contains("slot 0") || line.contains("failed"), "{line}");
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.ended();
    assert!(run.all(From::Out).is_empty());
}

#[test]
fn what_cannot_work_is_refused_with_what_can() {
    refused("['node', '-e', 'require(\"http\").createServer().listen(3000)']", "script");
    refused("['nodemon', 'server.js']", "nodemon");
    refused("['node', '--watch', 'server.js']", "node --watch");
    refused("['npm', 'run', 'missing']", "package.json has no script \"missing\"");
}
