//! `ganger run`: hands the request to the daemon.

use std::process::ExitCode;

use crate::cli::context::Context;
use crate::cli::exit::{Exit, Failure};
use crate::cli::grammar::FlagId;
use crate::cli::target;
use crate::daemon::{Fatal, RunRequest, Target};
use crate::plan::AppName;

/// Runs a supervisor in the foreground.
pub(crate) fn run(context: &Context) -> Result<ExitCode, Failure> {
    match crate::daemon::run(&request(context)?) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Fatal::Recorded(code)) => Ok(ExitCode::from(code)),
        Err(fatal) => {
            let exit = match &fatal {
                Fatal::Config(faults) if faults.is_not_found() => Exit::NotFound,
                Fatal::Config(_) => Exit::Usage,
                Fatal::Setup(_) | Fatal::Hopeless(_) | Fatal::Recorded(_) => Exit::Failed,
            };
            Err(Failure::new(exit, fatal.to_string()))
        }
    }
}

fn request(context: &Context) -> Result<RunRequest, Failure> {
    let typed = &context.typed;
    let command = typed.trailing.clone();
    if command.as_ref().is_some_and(Vec::is_empty) {
        return Err(Failure::usage("a command is missing behind --"));
    }
    if typed.operands.is_empty() && command.is_none() {
        return Err(Failure::usage("run needs an app, a file, or a command behind --")
            .hint("ganger run --listen 3000 -- node server.js"));
    }
    let target = typed.operands.first().map(|_| typed.operand(0).and_then(target)).transpose()?;
    let name = typed.text(FlagId::Name)?.map(|name| named(&name)).transpose()?;
    if name.is_some() && matches!(target, Some(Target::App(_))) {
        return Err(Failure::usage(
            "--name is for files and commands: an app that is looked up has its name",
        )
        .hint("ganger run --name NAME ./FILE.toml"));
    }
    Ok(RunRequest {
        target,
        name,
        listen: typed.texts(FlagId::Listen)?,
        workers: typed.text(FlagId::Workers)?,
        ready: typed.text(FlagId::Ready)?,
        profile: typed.text(FlagId::Profile)?,
        command,
        user_mode: context.user_mode,
        color: context.out.look().color,
    })
}

/// The value of `--name`.
fn named(text: &str) -> Result<AppName, Failure> {
    AppName::new(text).map_err(|error| {
        Failure::usage(format!("--name \"{}\": expected {error}", crate::cli::print::harmless(text)))
    })
}

/// A word with a slash or the ending `.toml` is a file, another is an app.
pub(crate) fn target(text: &str) -> Result<Target, Failure> {
    if text.contains('/') || std::path::Path::new(text).extension().is_some_and(|ending| ending == "toml") {
        Ok(Target::File(text.into()))
    } else {
        Ok(Target::App(target::app(text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_where_it_was_typed() {
        assert_eq!(named("api-2").unwrap().as_str(), "api-2");
        assert!(named("a b").unwrap_err().message.starts_with("--name \"a b\": expected a name of letters"));
    }

    #[test]
    fn a_word_with_a_slash_or_the_ending_toml_is_a_file() {
        assert_eq!(target("./api"), Ok(Target::File("./api".into())));
        assert_eq!(target("api.toml"), Ok(Target::File("api.toml".into())));
        assert!(matches!(target("api"), Ok(Target::App(_))));
        assert!(target("a b").is_err());
    }
}
