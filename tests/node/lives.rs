//! What an app can do with its primary, from its first line to its exit.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ganger::node::{Note, Report, Setting, launch};
use ganger::proto::node::UserText;

use super::client;
use super::pool::{Fact, Pool, SHARED, Sockets, now, prepared, versions};

/// A pool with one worker that does `deed`, on every version.
fn doing(deed: &str, mut check: impl FnMut(Pool, ganger::node::UniqueId)) {
    for version in versions() {
        eprintln!("node {version}: {deed}");
        let sockets = Sockets::new();
        let mut pool = Pool::new(&version, SHARED, "habits.cjs", sockets.all())
            .env("DO", deed)
            .env("PORT", sockets.port());
        let worker = pool.spawn();
        check(pool, worker);
    }
}

fn message(pool: &mut Pool) -> String {
    pool.wait("a message", |fact| match fact {
        Fact::Report(Report::Message { json, .. }) => Some(json.clone()),
        Fact::Report(_) | Fact::Said(..) | Fact::Exited(..) => None,
    })
}

fn reported(pool: &mut Pool, what: &str, wanted: impl Fn(&Report) -> bool) {
    pool.wait(what, |fact| match fact {
        Fact::Report(report) if wanted(report) => Some(()),
        Fact::Report(_) | Fact::Said(..) | Fact::Exited(..) => None,
    });
}

#[test]
fn messages_go_both_ways_and_ready_is_told_apart() {
    doing("echo messages", |mut pool, worker| {
        for expected in ["\"hello\"", "42", "null", "[\"ä\",{\"cmd\":\"NODE_\"}]"] {
            assert_eq!(message(&mut pool), expected);
        }
        reported(&mut pool, "ready", |report| matches!(report, Report::Ready { .. }));
        let big = format!("{{\"big\":\"{}\"}}", "x".repeat(3_000_000));
        for text in ["\"text\"", "{\n\"a\": [1, null]\n}", &big] {
            pool.hub.send(now(), worker, UserText::from_json(text).unwrap()).unwrap();
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            let echo: serde_json::Value = serde_json::from_str(&message(&mut pool)).unwrap();
            assert_eq!(echo["echo"], expected);
        }
    });
}

#[test]
fn a_worker_sees_itself_as_under_nodes_own_primary() {
    doing("tell who it is", |mut pool, worker| {
        let seen = pool.said(worker, "SELF");
        let expected = serde_json::json!(
            {"isWorker": true, "isPrimary": false, "id": worker.get(), "connected": true, "seen": []}
        );
        assert_eq!(seen, expected);
    });
}

#[test]
fn an_app_that_forks_its_own_cluster_is_a_worker_from_its_first_line() {
    doing("fork like a primary", |mut pool, worker| pool.listening(worker));
}

#[test]
fn an_app_that_leaves_by_itself_is_answered_and_drains() {
    for deed in ["leave by worker.disconnect", "leave by worker.kill"] {
        doing(deed, |mut pool, worker| {
            reported(&mut pool, "leaving", |report| matches!(report, Report::Leaving { .. }));
            reported(&mut pool, "drained", |report| matches!(report, Report::Drained { .. }));
            assert_eq!(pool.exited(worker), Some(0));
        });
    }
}

#[test]
fn an_app_that_cuts_its_channel_is_not_taken_for_drained() {
    doing("cut the channel", |mut pool, worker| {
        reported(&mut pool, "disconnected", |report| matches!(report, Report::Disconnected { .. }));
        assert_eq!(pool.exited(worker), Some(0));
    });
}

#[test]
fn a_handle_of_the_app_is_acknowledged_so_that_its_messages_go_on() {
    doing("send a handle", |mut pool, _| {
        reported(&mut pool, "the note", |report| {
            matches!(report, Report::Noted { note: Note::HandleDropped, .. })
        });
        assert_eq!(message(&mut pool), "\"after the handle\"");
    });
}

#[test]
fn forged_messages_touch_nothing_and_the_channel_goes_on() {
    doing("forge", |mut pool, _| {
        let before = std::fs::metadata("/etc/passwd").unwrap().modified().unwrap();
        assert_eq!(message(&mut pool), "\"still here\"");
        assert_eq!(std::fs::metadata("/etc/passwd").unwrap().modified().unwrap(), before);
        let refused = |report: &Report| matches!(report, Report::Noted { note: Note::Refused { .. }, .. });
        reported(&mut pool, "the refusal", refused);
    });
}

#[test]
fn a_worker_that_stays_after_its_drain_gets_its_stop_signal() {
    doing("stay after the drain", |mut pool, worker| {
        pool.listening(worker);
        pool.drain(worker, Duration::from_secs(30));
        reported(&mut pool, "drained", |report| matches!(report, Report::Drained { .. }));
        assert_eq!(pool.exited(worker), Some(7));
    });
}

#[test]
fn a_worker_that_cannot_drain_hears_its_stop_signal_before_its_time_is_over() {
    doing("hold a connection", |mut pool, worker| {
        let sockets = pool.env.iter().find(|(name, _)| name == "PORT").unwrap().1.parse().unwrap();
        pool.listening(worker);
        let _connection = pool.during(move || {
            let mut stream = client::connect(([127, 0, 0, 1], sockets).into()).unwrap();
            std::io::Read::read(&mut stream, &mut [0]).unwrap();
            stream
        });
        let begun = now();
        pool.drain(worker, Duration::from_secs(2));
        assert_eq!(pool.exited(worker), Some(7));
        let took = now().since(begun);
        assert!(took >= Duration::from_millis(1500) && took < Duration::from_secs(10), "{took:?}");
    });
}

#[test]
fn pm2s_shutdown_message_comes_before_the_drain() {
    doing("close at shutdown", |mut pool, worker| {
        pool.listening(worker);
        let message = Some(UserText::from_text("shutdown"));
        let farewell = ganger::node::Farewell {
            message,
            signal: Some(15),
            timeout: Duration::from_secs(30),
            is_last: false,
        };
        pool.hub.drain(now(), worker, farewell);
        pool.said(worker, "SHUTDOWN");
        assert_eq!(pool.exited(worker), Some(0));
    });
}

#[test]
fn es_modules_type_stripping_and_frameworks_run_as_they_are() {
    let modules = prepared(&["packages"]);
    for version in versions() {
        let stripping = !version.starts_with("18.") && !version.starts_with("20.");
        let mut apps = vec![("esm.mjs", ""), ("framework.cjs", "express"), ("framework.cjs", "fastify")];
        apps.extend([("framework.cjs", "koa"), ("framework.cjs", "ws")]);
        apps.extend(stripping.then_some(("typed.mts", "")));
        for (app, framework) in apps {
            eprintln!("node {version}: {app} {framework}");
            let sockets = Sockets::new();
            let mut pool = Pool::new(&version, SHARED, app, sockets.all())
                .env("PORT", sockets.port())
                .env("NODE_PATH", modules.display())
                .env("FRAMEWORK", framework);
            let worker = pool.spawn();
            pool.listening(worker);
            let address = sockets.address();
            assert_eq!(pool.during(move || client::once(address, "/").unwrap()), "1");
        }
    }
}

#[test]
fn what_an_app_spawns_inherits_no_channel() {
    let version = versions().pop().unwrap();
    let mut pool = Pool::new(&version, SHARED, "spawn.cjs", Sockets::new().all());
    let worker = pool.spawn();
    assert_eq!(pool.said(worker, "LINKS"), serde_json::json!([]));
}

#[test]
fn what_npm_and_npx_would_run_is_a_worker() {
    let version = versions().pop().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("node_modules/.bin");
    std::fs::create_dir_all(&bin).unwrap();
    let server = "require('http').createServer((_, response) => response.end('1')).listen(process.env.PORT)";
    std::fs::write(folder.path().join("server.js"), server).unwrap();
    std::fs::write(bin.join("serve"), format!("#!/usr/bin/env node\n{server}")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bin.join("serve"), executable).unwrap();
    let script = format!("node {}/server.js", folder.path().display());
    let package = serde_json::json!({"scripts": {
        "start": script, "shell": format!("true && exec {script}"), "own": "serve"
    }});
    for command in ["npm start", "npm run shell", "pnpm shell", "yarn own", "npx serve", "node --run start"] {
        let preload = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/node/drain.cjs");
        let setting = Setting {
            preload: Some(&preload),
            attach: None,
            plug_and_play: false,
            directory: folder.path(),
            package: Some(&package.to_string()),
            node_options: None,
            own_options: None,
        };
        let argv: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let launch = launch(&argv, &setting).unwrap();
        let sockets = Sockets::new();
        let mut pool = Pool::new(&version, SHARED, "", sockets.all()).env("PORT", sockets.port());
        let node = pool.node.parent().unwrap().display().to_string();
        let first = launch.path_first.unwrap();
        pool = pool.env("PATH", format!("{}:{node}:/usr/bin:/bin", first.display()));
        if !launch.node_options.is_empty() {
            pool = pool.env("NODE_OPTIONS", launch.node_options.display());
        }
        pool.argv = launch.argv;
        let worker = pool.spawn();
        pool.listening(worker);
        pool.drain(worker, Duration::from_secs(30));
        assert_eq!(pool.exited(worker), Some(0), "{command}");
    }
}
