//! The load client as a program: says how every request ended, in one line. The client itself, and what
//! its classes mean, is in `tests/harness/src/load.rs`.

use harness::load::{Load, Pace, Target, Until};
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
load [OPTION]… ADDR        ADDR is HOST:PORT or unix:PATH; exits with 1 if a request was lost
  -c, --connections N      8 unless said
  -n, --requests N         stop after N requests
  -d, --duration SECONDS   stop after that (10 unless said)
  --rate N                 N a second, whether or not answers come; else each connection asks again at once
  --think MS               wait between answer and next request
  --close                  a fresh connection for each request
  --path PATH              / unless said
  --timeout MS             10000 unless said
  --by-worker              also a line for each worker
";

fn run() -> Result<ExitCode, Box<dyn Error>> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_env();
    let mut target = None;
    let mut until = Until::Elapsed(Duration::from_secs(10));
    let mut by_worker = false;
    let mut changes: Vec<Box<dyn FnOnce(Load) -> Load>> = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('c') | Long("connections") => {
                let connections = parser.value()?.parse()?;
                changes.push(Box::new(move |load| load.connections(connections)));
            }
            Short('n') | Long("requests") => until = Until::Requests(parser.value()?.parse()?),
            Short('d') | Long("duration") => {
                until = Until::Elapsed(Duration::from_secs_f64(parser.value()?.parse()?));
            }
            Long("rate") => {
                let rate = parser.value()?.parse()?;
                changes.push(Box::new(move |load| load.pace(Pace::Rate(rate))));
            }
            Long("think") => {
                let think = Duration::from_millis(parser.value()?.parse()?);
                changes.push(Box::new(move |load| load.pace(Pace::Closed(think))));
            }
            Long("close") => changes.push(Box::new(Load::close_each)),
            Long("path") => {
                let path = parser.value()?.string()?;
                changes.push(Box::new(move |load| load.path(&path)));
            }
            Long("timeout") => {
                let timeout = Duration::from_millis(parser.value()?.parse()?);
                changes.push(Box::new(move |load| load.timeout(timeout)));
            }
            Long("by-worker") => by_worker = true,
            Long("help") => {
                std::io::stdout().write_all(USAGE.as_bytes())?;
                return Ok(ExitCode::SUCCESS);
            }
            Value(address) => target = Some(address.string()?),
            Short(_) | Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let address = target.ok_or(USAGE)?;
    let target = match address.strip_prefix("unix:") {
        Some(path) => Target::Unix(path.into()),
        None => Target::Tcp(address.parse()?),
    };
    let load = changes.into_iter().fold(Load::new(target).until(until), |load, change| change(load));
    let report = load.run();
    let mut out = std::io::stdout();
    writeln!(out, "{report}")?;
    if by_worker {
        out.write_all(report.by_worker().as_bytes())?;
    }
    Ok(if report.lost() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn main() -> ExitCode {
    run().unwrap_or_else(|err| {
        let _ = writeln!(std::io::stderr(), "load: {err}");
        ExitCode::from(2)
    })
}
