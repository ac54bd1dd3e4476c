//! `ganger events APP`: what happens, a line each, as it happens.

use crate::cli::context::{Context, block_on};
use crate::cli::detach::Detach;
use crate::cli::exit::{Exit, Failure};
use crate::cli::print::{Look, Style, harmless};
use crate::cli::reader;
use crate::cli::rows::style_of;
use crate::cli::state::Happening;
use crate::cli::target;
use crate::time::format_span;

/// Shows what happens until the supervisor leaves, the reader has gone, or the person leaves.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    let app = target::app(context.typed.operand(0)?)?;
    block_on(async {
        let mut supervisor = context.supervisor(&app).await?;
        let mut detach = Detach::new(false);
        let told = |happening: &Happening| {
            if context.json() {
                context.out.json(happening, false);
            } else {
                context.out.line(&line(happening, context.out.look()));
            }
            !context.out.closed()
        };
        let mut told = std::pin::pin!(supervisor.happenings(told));
        let mut detached = std::pin::pin!(detach.asked());
        let mut left = std::pin::pin!(reader::gone());
        let ended = std::future::poll_fn(|task| {
            if detached.as_mut().poll(task).is_ready() || left.as_mut().poll(task).is_ready() {
                return std::task::Poll::Ready(Ok(()));
            }
            told.as_mut().poll(task)
        });
        match ended.await {
            Ok(()) => Ok(Exit::Done),
            Err(trouble) => Err(context.trouble(&app, trouble)),
        }
    })
}

/// `worker-ready     slot 2  generation 18  pid 4711  1.4s`.
fn line(happening: &Happening, look: Look) -> String {
    let style = match happening.event.as_str() {
        "worker-exited" if happening.expected == Some(false) => Style::Bad,
        "slot-failed" | "worker-stuck" | "reload-refused" => Style::Bad,
        "worker-exited" if happening.ended.is_some() => Style::Warn,
        "slot-waiting" => Style::Warn,
        "worker-ready" => Style::Good,
        _ => happening.outcome.as_deref().map_or(Style::Plain, style_of),
    };
    let mut words = vec![style.paint(&format!("{:<16}", harmless(&happening.event)), look.color)];
    words.extend(happening.slot.map(|slot| format!("slot {slot}")));
    words.extend(happening.generation.map(|generation| format!("generation {generation}")));
    words.extend(happening.pid.map(|pid| format!("pid {pid}")));
    words.extend(happening.took_usec.map(|took| format_span(std::time::Duration::from_micros(took))));
    words.extend(happening.outcome.as_deref().map(harmless));
    words.extend(happening.reason.as_deref().map(harmless));
    words.extend(happening.ended.as_deref().map(harmless));
    words.extend(happening.message.as_ref().map(|message| harmless(&message.to_string())));
    words.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let happening = Happening {
            event: "worker-exited".into(),
            slot: Some(2),
            pid: Some(4711),
            reason: Some("exited with\nstatus 1".into()),
            ..Happening::default()
        };
        assert_eq!(line(&happening, Look::PLAIN), "worker-exited     slot 2  pid 4711  exited with·status 1");
        let message = serde_json::json!({"job": 7, "text": "a\u{1b}[2Jb"});
        let said = Happening {
            event: "message".into(),
            slot: Some(0),
            message: Some(message),
            ..Happening::default()
        };
        assert_eq!(line(&said, Look::PLAIN), r#"message           slot 0  {"job":7,"text":"a\u001b[2Jb"}"#);
    }
}
