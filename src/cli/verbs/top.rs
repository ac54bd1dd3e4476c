//! `ganger top`: a live view of all apps, with keys to steer them.

use tokio::sync::mpsc;

use crate::cli::context::{Context, block_on};
use crate::cli::discover::Places;
use crate::cli::exit::{Exit, Failure};
use crate::cli::journal;
use crate::cli::print::Look;
use crate::cli::screen::{self, Key, Screen};
use crate::cli::supervisor::Supervisor;
use crate::cli::target::{self, AppSlot};
use crate::cli::top::{Action, INTERVAL, LOG_LINES, Selected, Top};
use crate::cli::usage::Depth;
use crate::cli::verbs::list::{self, Entry};
use crate::dbus::Wish;
use crate::os::clock::now;
use crate::plan::AppName;

/// Something came in.
enum Came {
    Key(Key),
    Look(Vec<Entry>),
    Logs(Vec<String>),
    Answer(String),
}

/// Shows the view until the person leaves.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    block_on(watch(context))
}

async fn watch(context: &Context) -> Result<Exit, Failure> {
    let (keys, mut typed) = mpsc::unbounded_channel();
    let (sender, mut came) = mpsc::unbounded_channel();
    let screen = Screen::enter(&keys).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot show a live view: {error}")).hint("try ganger list")
    })?;
    let forward = sender.clone();
    tokio::spawn(async move {
        while let Some(key) = typed.recv().await {
            let _ = forward.send(Came::Key(key));
        }
    });
    let places = context.places();
    let looks = sender.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            if looks.send(Came::Look(list::gather(places.apps(), INTERVAL, Depth::Measure).await)).is_err() {
                return;
            }
        }
    });
    let mut top = Top::default();
    while let Some(came) = came.recv().await {
        let action = match came {
            Came::Key(key) => top.key(key),
            Came::Look(entries) => {
                top.looked(entries, now());
                if top.shows_logs() { Action::ReadLogs } else { Action::Draw }
            }
            Came::Logs(lines) => {
                top.read(lines);
                Action::Draw
            }
            Came::Answer(text) => {
                top.tell(&text);
                Action::Draw
            }
        };
        match action {
            Action::Leave => break,
            Action::Draw => {}
            Action::ReadLogs => read_logs(context, top.selected(), sender.clone()),
            Action::Ask(app, wish) => ask(context, &app, wish, sender.clone())?,
        }
        let (width, height) = crate::os::terminal::size().unwrap_or((80, 24));
        let look = Look { width: Some(width), ..context.out.look() };
        screen::show(&top.frame(now(), look, height));
    }
    drop(screen);
    Ok(Exit::Done)
}

/// Reads the journal beside the view; what comes late is of no more use than what comes never.
fn read_logs(context: &Context, selected: Option<Selected>, sender: mpsc::UnboundedSender<Came>) {
    let Some((app, slot)) = selected.and_then(|it| Some((target::app(&it.app).ok()?, it.slot))) else {
        return;
    };
    let users_own = context.is_users_own(&app);
    let words = journal::matches(&AppSlot { app, slot }, users_own);
    tokio::task::spawn_blocking(move || {
        let _ = sender.send(Came::Logs(journal::tail_or_why(&words, LOG_LINES)));
    });
}

/// Asks beside the view, and tells the verdict in it.
fn ask(context: &Context, app: &str, wish: Wish, sender: mpsc::UnboundedSender<Came>) -> Result<(), Failure> {
    let app: AppName = target::app(app)?;
    let Some(socket) = Places::of_app(context.user_mode, &app).socket_of(&app) else { return Ok(()) };
    tokio::spawn(async move {
        let asked = async {
            let mut supervisor = Supervisor::connect(&socket, crate::cli::context::ANSWER_DEADLINE).await?;
            supervisor.ask(&wish, |_| {}).await
        };
        let text = match asked.await {
            Ok(answer) => format!("{app}: {}: {}", answer.outcome, answer.message),
            Err(trouble) => format!("{app}: {trouble}"),
        };
        let _ = sender.send(Came::Answer(text));
    });
    Ok(())
}
