//! The private socket: what a client sees, asks and gets told, and how a wait ends.

use std::time::Duration;

use ganger::dbus::client::{Client, ClientError, Happening};
use ganger::dbus::{MAX_WAITING_ASKS, MAX_WAITING_NOTICES, Notice, Origin, Server, Wish, bind};
use ganger::pool::{Cause, Command, Exit, GenerationId, Outcome, ScaleTo, Slot};

use crate::fake::{Fake, PATIENCE, at, busctl, label, stdout, usage, verdict};

fn reload() -> Wish {
    Wish::Reload { origin: Origin::Private }
}

#[tokio::test]
async fn a_client_sees_everything_that_the_view_holds() {
    let fake = Fake::new();
    let _server = fake.serve();
    let seen = fake.client().await.view(PATIENCE).await.unwrap();
    assert_eq!((seen.app.as_str(), seen.version.as_str()), ("my-app", env!("CARGO_PKG_VERSION")));
    assert_eq!((seen.main_pid, seen.since), (std::process::id(), at(5)));
    assert_eq!(seen.listeners, [("web".to_owned(), "[::]:3000".to_owned())]);
    assert_eq!((seen.state.as_str(), seen.generation, seen.wanted, seen.ready), ("reloading", 1, 2, 2));
    assert_eq!(seen.status, "2/2 workers ready, generation 1, reloading to generation 2: 1/2");
    let reloading = seen.reloading.unwrap();
    assert_eq!((reloading.generation, reloading.done, reloading.total, reloading.aborting), (2, 1, 2, false));
    let last = seen.last_reload.unwrap();
    assert_eq!((last.outcome.as_str(), last.took), ("failed", Duration::from_millis(1500)));
    let failure = last.failure.unwrap();
    assert_eq!((failure.slot, failure.pid, failure.cause.as_str()), (1, Some(2299), "exit"));
    assert_eq!((failure.text.as_str(), failure.ended), ("exited with status 3", at(71)));
    assert_eq!(seen.slots.len(), 2);
    assert_eq!(seen.slots[1].last_failure.as_ref().unwrap().0, "oom");
    let worker = &seen.workers[1];
    assert_eq!((worker.worker, worker.slot, worker.state.as_str()), (1, 0, "draining"));
    assert_eq!((worker.pid, worker.deadline, worker.ready), (Some(2001), Some(at(90)), Some(at(11))));
    assert_eq!(worker.status.as_deref(), Some("12 clients"));
    assert_eq!((worker.memory, seen.workers[2].memory), (Some(157_286_400), None));
}

#[tokio::test]
async fn what_workers_use_is_looked_at_when_a_client_asks() {
    let mut fake = Fake::new();
    let (mut asked, looks) = fake.measured();
    let _server = fake.serve();
    let mut client = fake.client().await;
    let daemon = async {
        asked.recv().await.unwrap();
        looks.send_replace(usage());
    };
    let (seen, ()) = tokio::join!(client.view(PATIENCE), daemon);
    let seen = seen.unwrap();
    let worker = &seen.workers[0];
    let measured = worker.measured.unwrap();
    assert_eq!((worker.cpu, worker.memory), (Some(Duration::from_millis(1500)), Some(7 << 20)));
    assert_eq!((worker.connections, measured), (Some(12), ganger::os::clock::now().min(measured)));
    assert_eq!((seen.workers[2].cpu, seen.workers[2].measured), (None, None), "this one was not seen");
    assert_eq!((seen.queues[0].address.as_str(), seen.queues[0].waiting), ("[::]:3000", 2));
    // The look is good for a while, and what is not measured needs none.
    assert_eq!(client.view(PATIENCE).await.unwrap().workers[0].cpu, worker.cpu);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_look_that_never_comes_leaves_a_client_without_what_is_measured_only() {
    let mut fake = Fake::new();
    let (_asked, _looks) = fake.measured();
    let _server = fake.serve();
    let seen = fake.client().await.view(PATIENCE).await.unwrap();
    assert_eq!((seen.app.as_str(), seen.workers.len(), seen.workers[0].cpu), ("my-app", 3, None));
    assert!(seen.queues.is_empty());
}

#[tokio::test]
async fn the_slots_alone_are_told_without_a_look() {
    let mut fake = Fake::new();
    let (mut asked, _looks) = fake.measured();
    let _server = fake.serve();
    assert_eq!(fake.client().await.slots(PATIENCE).await.unwrap(), [0, 1]);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_view_that_changed_is_seen_by_the_next_look() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    assert_eq!(client.view(PATIENCE).await.unwrap().ready, 2);
    fake.change(|view| {
        view.ready = 1;
        view.reload = None;
        view.last_reload = None;
        view.workers.clear();
    });
    let seen = client.view(PATIENCE).await.unwrap();
    assert_eq!((seen.ready, seen.reloading, seen.last_reload, seen.workers.len()), (1, None, None, 0));
}

#[tokio::test]
async fn every_wish_reaches_the_daemon_as_it_was_meant() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    let command = Wish::Command;
    for wish in [
        reload(),
        Wish::Reload { origin: Origin::ExecReload },
        command(Command::Restart { slot: None }),
        command(Command::Restart { slot: Some(Slot(3)) }),
        command(Command::Scale { to: ScaleTo::Exactly(4) }),
        command(Command::Scale { to: ScaleTo::Up(2) }),
        command(Command::Scale { to: ScaleTo::Down(1) }),
        command(Command::Signal { slot: Some(Slot(0)), signal: 10 }),
        command(Command::Reset { slot: None }),
        command(Command::StartSlot { slot: Slot(2) }),
        command(Command::StopSlot { slot: Slot(2) }),
        command(Command::Stop),
        Wish::Send { slot: Some(Slot(1)), json: "{\"a\":1}".into() },
    ] {
        let daemon = async {
            let ask = fake.asks.recv().await.unwrap();
            let seen = ask.wish.clone();
            ask.reply.send(verdict(Outcome::Done)).unwrap();
            (seen, ask.caller)
        };
        let (answer, (seen, caller)) = tokio::join!(client.call(&wish, Some(PATIENCE), |_| {}), daemon);
        assert_eq!((answer.unwrap().outcome, &seen), (Outcome::Done, &wish));
        assert_eq!(
            (caller.uid, caller.pid),
            (Some(nix::unistd::geteuid().as_raw()), Some(std::process::id()))
        );
    }
}

#[tokio::test]
async fn each_outcome_comes_back_with_its_reason() {
    for outcome in [
        Outcome::Failed,
        Outcome::Partly,
        Outcome::NotFound,
        Outcome::Superseded,
        Outcome::Refused,
        Outcome::Stopped,
    ] {
        let mut fake = Fake::new();
        let _server = fake.serve();
        fake.always(outcome);
        let answer = fake.client().await.call(&reload(), Some(PATIENCE), |_| {}).await.unwrap();
        assert_eq!(answer.outcome, outcome);
        assert_eq!(answer.message, "worker 1 of generation 2 exited with status 3");
        let failure = answer.failure.unwrap();
        assert_eq!(
            (answer.generation, failure.pid, failure.text.as_str()),
            (2, Some(2299), "exited with status 3")
        );
    }
}

#[tokio::test]
async fn contact_is_lost_at_once_when_the_supervisor_goes() {
    let mut fake = Fake::new();
    let server = fake.serve();
    let mut client = fake.client().await;
    let gone = async {
        let ask = fake.asks.recv().await.unwrap();
        drop(server);
        ask
    };
    // No deadline: only the supervisor's going can end this.
    let wish = reload();
    let (answer, _ask) = tokio::join!(client.call(&wish, None, |_| {}), gone);
    assert_eq!(answer, Err(ClientError::LostContact));
    assert_eq!(client.happening().await, None);
    assert_eq!(client.view(PATIENCE).await, Err(ClientError::LostContact));
}

#[tokio::test]
async fn a_wish_outlives_the_caller_who_went_away() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    let wish = reload();
    let ask = tokio::select! {
        answer = client.call(&wish, None, |_| {}) => panic!("{answer:?}"),
        ask = fake.asks.recv() => ask.unwrap(),
    };
    drop(client);
    let mut reply = ask.reply;
    // The server has noticed when it no longer waits for the verdict.
    reply.closed().await;
    assert_eq!(ask.wish, reload());
    assert!(fake.client().await.view(PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_deadline_ends_the_wait_and_not_the_wish() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    let answer = client.call(&reload(), Some(Duration::from_millis(50)), |_| {}).await;
    assert_eq!(answer, Err(ClientError::DeadlinePassed));
    let ask = fake.asks.recv().await.unwrap();
    ask.reply.send(verdict(Outcome::Done)).unwrap();
    // The late verdict is not taken for the answer of the next question.
    assert_eq!(client.view(PATIENCE).await.unwrap().app, "my-app");
}

#[tokio::test]
async fn a_busy_daemon_refuses_and_never_makes_a_caller_hang() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for _ in 0..=MAX_WAITING_ASKS {
        let mut client = fake.client().await;
        // Nobody takes the asks: a client gets no answer, or at once the refusal.
        match client.call(&reload(), Some(Duration::from_millis(20)), |_| {}).await {
            Err(ClientError::DeadlinePassed) => waiting.push(client),
            Err(ClientError::Busy(why)) => {
                refused += 1;
                assert!(why.contains("try again"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((waiting.len(), refused), (MAX_WAITING_ASKS, 1));
}

#[tokio::test]
async fn a_watcher_is_told_what_happens_in_order_while_it_waits_for_its_verdict() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    client.watch(PATIENCE).await.unwrap();
    let notices = fake.notices.clone();
    // Signals and the verdict travel apart: the verdict is given when the last signal was seen.
    let (seen, all_seen) = tokio::sync::oneshot::channel();
    let daemon = async {
        let ask = fake.asks.recv().await.unwrap();
        notices.send(Notice::ReloadStarted(GenerationId(2))).unwrap();
        notices.send(Notice::WorkerReady(label(), Duration::from_millis(1400))).unwrap();
        notices
            .send(Notice::WorkerExited(label(), Cause::Replaced, true, Some(Cause::Exit(Exit::Signal(6)))))
            .unwrap();
        all_seen.await.unwrap();
        ask.reply.send(verdict(Outcome::Done)).unwrap();
    };
    let (mut told, mut seen) = (Vec::new(), Some(seen));
    let wish = reload();
    let telling = |happening: Happening| {
        if happening.name == "WorkerExited" {
            seen.take().unwrap().send(()).unwrap();
        }
        told.push(happening);
    };
    let (answer, ()) = tokio::join!(client.call(&wish, Some(PATIENCE), telling), daemon);
    assert_eq!(answer.unwrap().outcome, Outcome::Done);
    let names: Vec<_> = told.iter().map(|happening| happening.name.as_str()).collect();
    assert_eq!(names, ["ReloadStarted", "WorkerReady", "WorkerExited"]);
    assert_eq!((told[1].slot, told[1].pid), (Some(0), Some(2003)));
    assert_eq!(told[1].took, Some(Duration::from_millis(1400)));
    assert_eq!((told[2].word.as_deref(), told[2].expected), (Some("reload"), Some(true)));
    assert_eq!(told[2].text.as_deref(), Some("was replaced by a new generation"));
    let ended = told[2].ended.as_ref().unwrap();
    assert_eq!((ended.cause.as_str(), ended.signal, ended.status), ("signal", Some(6), None));
    assert_eq!(ended.text, "killed by signal 6 (ABRT)");
}

#[tokio::test]
async fn a_watcher_that_was_too_slow_learns_how_much_it_missed() {
    let fake = Fake::new();
    let _server = fake.serve();
    let mut client = fake.client().await;
    client.watch(PATIENCE).await.unwrap();
    // All at once, before the server's task can run: the bounded channel keeps the newest.
    for _ in 0..MAX_WAITING_NOTICES + 44 {
        fake.notices.send(Notice::ReloadStarted(GenerationId(2))).unwrap();
    }
    fake.notices.send(Notice::Stopping).unwrap();
    let first = client.happening().await.unwrap();
    assert_eq!((first.name.as_str(), first.missed), ("SignalsMissed", Some(45)));
    while client.happening().await.unwrap().name != "Stopping" {}
    assert_eq!(client.view(PATIENCE).await.unwrap().missed_signals, 45);
}

#[tokio::test]
async fn fifty_clients_at_once_each_get_a_definite_answer() {
    let mut fake = Fake::new();
    let server = fake.serve();
    let daemon = fake.always(Outcome::Done);
    let socket = fake.socket();
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut client = Client::connect(&socket, PATIENCE).await.unwrap();
                let mut done = 0;
                for round in 0..20 {
                    let wish = match (number + round) % 4 {
                        0 => reload(),
                        1 => Wish::Command(Command::Restart { slot: None }),
                        2 => Wish::Command(Command::Scale { to: ScaleTo::Exactly(4) }),
                        _ => {
                            assert_eq!(client.view(PATIENCE).await.unwrap().app, "my-app");
                            continue;
                        }
                    };
                    match client.call(&wish, Some(PATIENCE), |_| {}).await {
                        Ok(answer) => {
                            assert_eq!(answer.outcome, Outcome::Done);
                            done += 1;
                        }
                        Err(ClientError::Busy(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for client in clients {
        done += client.await.unwrap();
    }
    drop((server, fake));
    assert_eq!(daemon.await.unwrap(), done);
    assert!(done > 0);
}

#[tokio::test]
async fn no_socket_and_a_dead_socket_are_told_apart() {
    let fake = Fake::new();
    let nowhere = Client::connect(&fake.socket(), PATIENCE).await.unwrap_err();
    assert_eq!(nowhere, ClientError::NoSocket(fake.socket()));
    drop(bind(&fake.socket()).unwrap());
    let dead = Client::connect(&fake.socket(), PATIENCE).await.unwrap_err();
    assert!(matches!(dead, ClientError::Unreachable(..)), "{dead:?}");
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
    let fake = Fake::new();
    drop(bind(&fake.socket()).unwrap());
    let server: Server = fake.serve();
    assert_eq!(bind(&fake.socket()).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(server);
}

#[tokio::test]
async fn a_verdict_is_written_before_the_supervisor_leaves() {
    let mut fake = Fake::new();
    let server = fake.serve();
    let mut client = fake.client().await;
    let hub = fake.hub.clone();
    let daemon = async {
        let ask = fake.asks.recv().await.unwrap();
        ask.reply.send(verdict(Outcome::Done)).unwrap();
        hub.settled(PATIENCE).await;
        drop(server);
    };
    let stop = Wish::Command(Command::Stop);
    let (answer, ()) = tokio::join!(client.call(&stop, None, |_| {}), daemon);
    assert_eq!(answer.unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn busctl_can_look_and_ask_by_the_private_socket() {
    let mut fake = Fake::new();
    let _server = fake.serve();
    fake.always(Outcome::Failed);
    let address = format!("unix:path={}", fake.socket().display());
    let get = "get-property org.ganger1.my_2dapp /org/ganger1 org.ganger1.App Ready Generation State";
    assert_eq!(stdout(&busctl(&address, get).await), "u 2\nt 1\ns \"reloading\"\n");
    let failed = busctl(&address, "call org.ganger1.my_2dapp /org/ganger1 org.ganger1.App Reload").await;
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("exited with status 3"), "{failed:?}");
    let tree = stdout(&busctl(&address, "tree org.ganger1.my_2dapp").await);
    assert!(tree.contains("/org/ganger1/worker/1"), "{tree}");
}
