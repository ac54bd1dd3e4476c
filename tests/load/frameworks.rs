//! What each framework of `examples/` loses when its workers are replaced under load, and what removes the
//! loss. `docs/no-request-lost.md` has the table that this prints:
//!
//! ```text
//! GANGER_SOAK=1 cargo test --test load frameworks -- --nocapture --test-threads=1
//! ```
//!
//! What a framework does to its own connections on SIGTERM is not ganger's to promise, so only those that
//! drain well are held to zero. For all of them: no connection is refused, no request hangs.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::load::{Class, Pace, Report};

use super::app::{App, soaking};

#[path = "../examples/fastcgi.rs"]
mod fastcgi;

/// What is expected of a framework.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hope {
    /// Nothing is lost, whatever the clients do.
    Nothing,
    /// It is lossy; what is lost is counted.
    Counted,
}

/// One framework as one example runs it.
struct Framework {
    config: &'static str,
    needs: &'static str,
    /// What was changed in the example's file, and what it is called in the table.
    change: Option<(&'static str, &'static str, &'static str)>,
    hope: Hope,
}

const fn as_it_is(config: &'static str, needs: &'static str, hope: Hope) -> Framework {
    Framework { config, needs, change: None, hope }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    program.is_empty() || std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The example's file, fit to run from another folder and quick to reload.
fn config(framework: &Framework, built: &[(&str, String)]) -> String {
    let source = root().join("examples").join(framework.config);
    let mut text = fs::read_to_string(&source).unwrap();
    for (from, to) in built {
        text = text.replace(from, to);
    }
    if let Some((from, to, _)) = framework.change {
        assert!(text.contains(from), "{} does not say {from}", framework.config);
        text = text.replace(from, to);
    }
    text = text.replace("directory = \".\"", &format!("directory = {:?}", source.parent().unwrap()));
    text + "\n[reload]\nbake = \"100ms\"\n"
}

/// One run: so many reloads, with clients of each habit at the same time.
fn run(framework: &Framework, built: &[(&str, String)]) {
    if !installed(framework.needs) {
        eprintln!("SKIPPED {}: {} is not installed", framework.config, framework.needs);
        assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "{} is needed", framework.needs);
        return;
    }
    let app = App::start(&config(framework, built));
    let busy = app.load().start();
    let thinking = app.load().connections(20).pace(Pace::Closed(Duration::from_millis(20))).start();
    let short = app.load().close_each().connections(4).start();
    for running in [&busy, &thinking, &short] {
        running.wait_for_answers(20);
    }
    for _ in 0..if soaking() { 20 } else { 2 } {
        app.ask("reload", &[]).done();
    }
    let reports = [busy.stop(), thinking.stop(), short.stop()];
    let change = framework.change.map_or("as it is", |(_, _, name)| name);
    let cells = reports.iter().map(|report| format!(" {} of {} |", report.lost(), report.sent));
    eprintln!("| {} | {change} |{}", framework.config, cells.collect::<String>());
    reports.iter().filter(|report| report.lost() > 0).for_each(|report| eprintln!("    {report}"));
    judge(framework, &reports, &app);
}

fn judge(framework: &Framework, reports: &[Report; 3], app: &App) {
    let [busy, thinking, short] = reports;
    for report in reports {
        let ours = report.of(Class::Refused) + report.of(Class::Timeout);
        assert_eq!(ours, 0, "{}: {report}\n{}", framework.config, app.log());
    }
    match framework.hope {
        Hope::Nothing => reports.iter().for_each(|report| report.assert_nothing_lost(20)),
        Hope::Counted => assert!(busy.ok() > 0 && thinking.ok() > 0 && short.ok() > 0),
    }
}

#[test]
fn f05_frameworks_rust() {
    let hello = harness::example("hello").into_os_string().into_string().unwrap();
    run(&as_it_is("rust/hello-rust.toml", "", Hope::Nothing), &[("target/release/examples/hello", hello)]);
}

#[test]
fn f05_frameworks_node_unmodified() {
    run(&as_it_is("node/hello-node.toml", "node", Hope::Nothing), &[]);
}

#[test]
fn f05_frameworks_node_with_the_descriptor() {
    run(&as_it_is("node-fd/hello-node-fd.toml", "node", Hope::Nothing), &[]);
}

#[test]
fn f05_frameworks_python() {
    run(&as_it_is("python/hello-python.toml", "python3", Hope::Nothing), &[]);
}

#[test]
fn f05_frameworks_uvicorn() {
    let uvicorn = |change, hope| {
        let framework = as_it_is("uvicorn/hello-uvicorn.toml", "uvicorn", hope);
        run(&Framework { change, ..framework }, &[]);
    };
    const COMMAND: &str = "\ncommand = [\"uvicorn\", \"--fd\", \"3\", ";
    uvicorn(None, Hope::Counted);
    let header = "\ncommand = [\"uvicorn\", \"--fd\", \"3\", \"--header\", \"connection:close\", ";
    uvicorn(Some((COMMAND, header, "--header connection:close")), Hope::Counted);
    let drain = "\ncommand = [\"/usr/bin/python3\", \"drain.py\", ";
    uvicorn(Some((COMMAND, drain, "drain.py")), Hope::Nothing);
}

#[test]
fn f05_frameworks_gunicorn() {
    run(&as_it_is("gunicorn/hello-gunicorn.toml", "gunicorn", Hope::Counted), &[]);
    let change =
        Some(("\"--threads\", \"8\"", "\"--threads\", \"8\", \"--keep-alive\", \"0\"", "--keep-alive 0"));
    run(&Framework { change, ..as_it_is("gunicorn/hello-gunicorn.toml", "gunicorn", Hope::Nothing) }, &[]);
}

#[test]
fn f05_frameworks_puma() {
    // While a thread's connection sends one request after the other, puma 5 and 6 do not give it to another: with
    // fewer threads than busy clients it may be that nobody else is served.
    let framework = as_it_is("ruby/hello-ruby.toml", "puma", Hope::Nothing);
    let change = Some(("[\"puma\", ", "[\"puma\", \"--threads\", \"1:40\", ", "drain.rb, --threads 1:40"));
    run(&Framework { change, ..framework }, &[]);
}

#[test]
fn f05_frameworks_java() {
    run(&as_it_is("java/hello-java.toml", "java", Hope::Nothing), &[]);
}

#[test]
fn f05_frameworks_go() {
    if !installed("go") {
        run(&as_it_is("go/hello-go.toml", "go", Hope::Nothing), &[]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("hello-go");
    let source = root().join("examples/go/main.go");
    assert!(Command::new("go").arg("build").arg("-o").arg(&binary).arg(source).status().unwrap().success());
    let built = [("target/hello-go", binary.into_os_string().into_string().unwrap())];
    run(&as_it_is("go/hello-go.toml", "go", Hope::Nothing), &built);
}

/// Says "stop" when it goes.
struct Stopped<'a>(&'a AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn f05_frameworks_php() {
    let framework = as_it_is("php/hello-php.toml", "php-cgi", Hope::Counted);
    if !installed(framework.needs) {
        eprintln!("SKIPPED {}: php-cgi is not installed", framework.config);
        assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "php-cgi is needed");
        return;
    }
    let app = App::start(&config(&framework, &[]));
    let page = root().join("examples/php/index.php");
    let (stop, sent, lost) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        // Also when a reload fails: the clients would be waited for without an end.
        let _stopped = Stopped(&stop);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    sent.fetch_add(1, Ordering::Relaxed);
                    let stream = TcpStream::connect(app.address()).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    if let Err(error) = fastcgi::get(stream, &page) {
                        let _ = writeln!(std::io::stderr(), "    lost: {error}");
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..if soaking() { 20 } else { 2 } {
            app.ask("reload", &[]).done();
        }
    });
    let (sent, lost) = (sent.into_inner(), lost.into_inner());
    eprintln!("| {} | as it is | – | – | {lost} of {sent} |", framework.config);
}
