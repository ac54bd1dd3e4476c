//! Many at once on a booted system: commands and `busctl` as root and as the app's own user, some killed in the
//! middle. Each that stays gets a definite answer, and what there is in the end is what the journal says was
//! accepted last; `tests/asked.rs` does the same at length, without systemd.

use crate::answer::{self, Call, Ending, Way};
use crate::ledger::{LAST_WORDS, Ledger};
use crate::site;
use crate::wish::{Chance, Wish};
use harness::{Host, both};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

const CLIENTS: u64 = 12;
const WORKERS: u32 = 3;
/// So many calls are made in all.
const CALLS: usize = 100;

/// Tells its pid, which is the command's own, and is killed after `$1` seconds, if any.
const CLIENT: &str =
    "echo $$; test -z \"$1\" || { (sleep $1; kill -9 $$) >/dev/null 2>&1 & }; shift; exec \"$@\"";

fn call(host: &Host, way: Way, user: &str, chance: &mut Chance) -> Call {
    let wish = Wish::any(chance);
    let leaves = wish == Wish::Events || chance.below(5) == 0;
    let after = if leaves { format!("0.{:03}", chance.below(120)) } else { String::new() };
    let (program, words) = match way {
        Way::CommandLine => ("ganger", answer::command_line("myapp", &wish)),
        Way::Busctl | Way::Private | Way::Bus => ("busctl", answer::busctl("myapp", &wish)),
    };
    let mut command = host.command("sh");
    command.args(["-c", CLIENT, "sh", &after, "setpriv", "--reuid", user, "--regid", user, "--clear-groups"]);
    command.arg(program).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut output = command.output().expect("nsenter starts");
    let line = output.stdout.iter().position(|byte| *byte == b'\n').expect("the pid");
    let rest = output.stdout.split_off(line + 1);
    let pid = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a pid");
    output.stdout = rest;
    // 137: killed, and so says nsenter, or is itself killed in the same way.
    let killed = leaves && !matches!(output.status.code(), Some(0..=7));
    let ending = match way {
        _ if killed => Ending::Gone,
        Way::CommandLine => answer::by_command_line(&wish, &output),
        Way::Busctl | Way::Private | Way::Bus => answer::by_busctl(&wish, &output),
    };
    Call { way, pid, wish, ending }
}

fn all_at_once(host: &Host, seed: u64) -> Vec<Call> {
    let enough = AtomicBool::new(false);
    let made = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (enough, made) = (&enough, &made);
            scope.spawn(move || {
                let mut chance = Chance::new(seed, number);
                let way = if number % 2 == 0 { Way::CommandLine } else { Way::Busctl };
                let user = if number % 4 < 2 { "root" } else { "www-data" };
                while !enough.load(Ordering::Relaxed) {
                    let call = call(host, way, user, &mut chance);
                    let mut made = made.lock().expect("no client failed");
                    made.push(call);
                    enough.fetch_or(made.len() >= CALLS, Ordering::Relaxed);
                }
            });
        }
    });
    made.into_inner().expect("no client failed")
}

#[test]
fn the_last_accepted_of_many_wishes_holds_and_everybody_is_answered() {
    for host in both("many at once") {
        site::install_scripted(&host, "--notify", &format!("workers = {WORKERS}\nreload.bake = \"0s\"\n"));
        site::first_request(&host);
        site::wait_for_status(&host, "3/3 workers ready, generation 1");
        host.wait_for("the name is taken", || host.run("busctl status org.ganger1.myapp").code == 0);
        let seed = u64::from(host.init_pid());
        eprintln!("seed {seed}");
        let calls = all_at_once(&host, seed);
        // Answered when all that waits is done, and changes nothing.
        host.wait_for("the last", || host.run("ganger scale myapp +0").code == 0);
        host.ok("ganger scale myapp -0");
        host.wait_for_log("myapp.service", LAST_WORDS);
        let log: Vec<String> = host.journal("myapp.service").lines().map(str::to_owned).collect();
        let ledger = Ledger::read(&log, WORKERS);
        assert!(ledger.len() > CALLS / 3, "{}: {} taken in", host.title(), ledger.len());
        // Those that the test itself asked for are of no client.
        ledger.compare(&calls, &["scaling up by 0 workers", LAST_WORDS]);
        let status = site::status(&host);
        assert_eq!(status["wanted"], ledger.wanted, "{}: {status}", host.title());
        assert_eq!(status["generation"], ledger.generation(), "{}: {status}", host.title());
        // Slots that somebody stopped run again: the table is to be of all that are wanted.
        let slots = (0..ledger.wanted).map(|slot| format!(" myapp:{slot}")).collect::<String>();
        if !slots.is_empty() {
            host.ok(&format!("ganger start{slots}"));
        }
        let alive = || -> BTreeSet<u64> {
            let pids = host.run("pgrep -x worker").stdout;
            pids.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
        };
        host.wait_for("the table is what is alive", || site::workers(&host) == alive());
        assert_eq!(alive().len(), ledger.wanted as usize, "{}", host.title());
    }
}
