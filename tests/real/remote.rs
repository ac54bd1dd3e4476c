//! `-H [USER@]HOST` by a real sshd: the commands run there as they do here, with their output and exit codes, and a
//! host that nobody reaches is told from one where ganger has nothing good to say.

use crate::site;
use harness::{Boot, Debian, Host};

/// `web1` is this machine, by its name and port; the others are reached less well.
const SSH_CONFIG: &str = "\
Host strange
    HostKeyAlias strange
    StrictHostKeyChecking yes
Host web1 strange nobody-lets-us-in
    HostName 127.0.0.1
    StrictHostKeyChecking accept-new
Host nobody-lets-us-in
    IdentityFile /dev/null
    IdentitiesOnly yes
Host closed
    HostName 127.0.0.1
    Port 1
Host *
    BatchMode yes
    ConnectTimeout 20
";

/// Root may come with the key; so may bob, who owns nothing, and eve, for whom ganger is not there.
fn open_the_door(host: &Host) {
    host.ok("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519");
    host.put("/etc/ssh/ssh_config.d/hosts.conf", SSH_CONFIG);
    for user in ["root", "bob", "eve"] {
        let new = format!("useradd --home-dir /srv/{user} --create-home --shell /bin/sh {user}");
        host.ok(&format!("id {user} >/dev/null 2>&1 || {new}"));
        host.ok(&format!(
            "cd ~{user} && mkdir -p .ssh && cp ~root/.ssh/id_ed25519.pub .ssh/authorized_keys && chown -R {user}: .ssh"
        ));
    }
    host.ok("sed -i 's|^|command=\"PATH=/nowhere; eval \\\\\"$SSH_ORIGINAL_COMMAND\\\\\"\" |' ~eve/.ssh/authorized_keys");
    host.ok("systemctl start ssh.service");
    host.ok("ssh web1 true");
}

/// Runs `ganger WORDS` and sees that it ends with `code`, and that all of `wanted` is said.
#[track_caller]
fn ganger(host: &Host, words: &str, code: i32, wanted: &[&str]) -> String {
    let out = host.run(&format!("ganger {words}"));
    let said = format!("{}{}", out.stdout, out.stderr);
    assert_eq!(out.code, code, "{}: ganger {words}: {out}", host.title());
    for wanted in wanted {
        assert!(said.contains(wanted), "{}: ganger {words}: \"{wanted}\" is missing: {out}", host.title());
    }
    said
}

fn looks(host: &Host) {
    for by in ["-H web1", "-H root@web1", "--host=bob@web1", "-H web1:22"] {
        ganger(host, &format!("{by} list"), 0, &["myapp  serving  2/2", "127.0.0.1:8080"]);
    }
    let (here, there) =
        (host.ok("ganger status --json myapp"), host.ok("ganger -H web1 status --json myapp"));
    let pids = |json: &str| {
        let status: serde_json::Value = serde_json::from_str(json).expect("JSON and nothing else");
        let workers = status["workers"].as_array().expect("workers").clone();
        workers.iter().map(|worker| worker["pid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(pids(&here), pids(&there));
    ganger(host, "-H web1 logs myapp --since '1 hour ago'", 0, &["worker 0 is ready", "worker 1 is ready"]);
    let one = ganger(host, "-H web1 logs myapp:1 -n 1000", 0, &["worker 1 is ready"]);
    assert!(!one.contains("worker 0 is ready"), "{one}");
    // No terminal at the other end, either: the same words as here.
    let local = host.run("ganger top </dev/null");
    let remote = host.run("ganger -H web1 top </dev/null");
    assert_ne!(local.code, 0, "{local}");
    assert_eq!((remote.code, remote.stderr), (local.code, local.stderr));
}

fn changes(host: &Host) {
    ganger(host, "-H root@web1 reload myapp", 0, &["worker 0 started", "reload myapp: done: generation 2"]);
    assert_eq!(site::status(host)["generation"], 2);
    ganger(host, "-H root@web1 scale myapp -- +1", 0, &["scaled from 2 to 3 workers"]);
    ganger(host, "-H root@web1 restart myapp:2", 0, &["slot 2 was restarted"]);
    ganger(host, "-H root@web1 restart myapp:9", 3, &["there is no slot 9"]);
    ganger(host, "-H root@web1 status mapp", 3, &["did you mean myapp?"]);
    ganger(host, "-H root@web1 scale myapp many", 2, &[]);
    ganger(host, "-H bob@web1 reload myapp", 4, &["try again as root"]);
    // What a shell there would make of it is a word like any other.
    ganger(
        host,
        "-H web1 logs myapp --since '1 hour ago; touch /tmp/run `touch /tmp/run`'",
        1,
        &["imestamp"],
    );
    host.ok("test ! -e /tmp/run");
    site::configure(host, "--crash-before-ready", "workers = 2\n");
    ganger(host, "-H root@web1 reload myapp", 1, &["exited with status 1", "ganger: reload myapp: failed"]);
    site::configure(host, "--notify", "workers = 2\n");
}

/// With a terminal there is one at the other end as well: tables are for it, and Ctrl-C goes there.
fn on_a_terminal(host: &Host) {
    let shown = host.ok("script -qec 'stty cols 200; ganger -H web1 --color=auto status myapp' /dev/null");
    assert!(shown.contains("\x1b[") && shown.contains("├─ 0"), "{}: {shown}", host.title());
    host.ok("mkfifo /run/typed");
    // It listens when it has told something.
    let interrupted = |words: &str| {
        let line = "rm -f /run/shown; exec 3<>/run/typed; script -qec 'ganger WORDS' /dev/null </run/typed >/run/shown & \
                    until grep -qs worker- /run/shown; do ganger restart myapp:0 >&2; done; \
                    printf '\\003' >&3; wait $!";
        let left = host.run(&line.replace("WORDS", words));
        host.wait_for("nobody listens any more", || host.run("pgrep -f '^ganger events myapp$'").code != 0);
        left
    };
    let (here, left) = (interrupted("events myapp"), interrupted("-H web1 events myapp"));
    assert_eq!(left.code, here.code, "{}: {left} {here}", host.title());
}

fn nobody_there(host: &Host) {
    let lost = |name: &str| format!("ssh could not run ganger on {name}");
    for (name, why) in [
        ("closed", "Connection refused"),
        ("nobody@web1", "Permission denied"),
        ("nobody-lets-us-in", "Permission denied"),
        ("strange", "Host key verification failed"),
        ("no-such-host.invalid", "Could not resolve hostname"),
        ("web1:1", "Connection refused"),
    ] {
        ganger(host, &format!("-H {name} status myapp"), 5, &[why, &lost(name)]);
    }
    ganger(host, "-H eve@web1 list", 5, &["ganger does not run on eve@web1"]);
    ganger(host, "-H -oProxyCommand=x list", 2, &["is no host"]);
    // The host is there, the supervisor is not: another reason, said by ganger there.
    host.ok("systemctl stop myapp.socket myapp.service");
    ganger(host, "-H web1 status myapp", 5, &["myapp does not run", "start it: ganger start myapp"]);
    ganger(host, "-H web1 start myapp", 0, &[]);
    assert_eq!(host.property("myapp.service", "ActiveState"), "active");
}

#[test]
fn another_machine_is_asked_by_ssh_and_answers_with_its_own_words_and_exit_codes() {
    for debian in [Debian::Bookworm, Debian::Trixie] {
        let boot = Boot::debian(debian, "-H by a real sshd").packages(&["openssh-server"]);
        let Some(host) = boot.start() else { return };
        site::install_scripted(&host, "--notify", "workers = 2\nreload.bake = \"0s\"\n");
        site::first_request(&host);
        site::wait_for_status(&host, "2/2 workers ready, generation 1");
        open_the_door(&host);
        looks(&host);
        on_a_terminal(&host);
        changes(&host);
        nobody_there(&host);
    }
}
