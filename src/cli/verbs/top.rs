//! `ganger top`: a live view of all apps, with keys to steer them.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::context::{Context, block_on};
use crate::cli::discover::Places;
use crate::cli::exit::{Exit, Failure};
use crate::cli::journal;
use crate::cli::screen::{Key, Screen};
use crate::cli::supervisor::Supervisor;
use crate::cli::target::{self, AppSlot};
use crate::cli::top::draw::Drawing;
use crate::cli::top::{Action, INTERVAL, LOG_LINES, Selected, Top};
use crate::cli::verbs::list::{self, Entry};
use crate::dbus::Wish;
use crate::os::clock::now;
use crate::plan::AppName;

/// Something came in.
enum Came {
    Key(Key),
    Look(Vec<Entry>),
    Logs(Selected, Vec<String>),
    Answer(String),
}

/// Shows the view until the person leaves.
pub(crate) fn run(context: &Context) -> Result<Exit, Failure> {
    block_on(watch(context))
}

async fn watch(context: &Context) -> Result<Exit, Failure> {
    let (keys, typed) = mpsc::unbounded_channel();
    let (sender, mut came) = mpsc::unbounded_channel();
    let color = context.out.look().color;
    let mut screen = Screen::enter(&keys, color).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot show a live view: {error}")).hint("try ganger list")
    })?;
    forward(typed, sender.clone());
    look(context, sender.clone());
    let (mut top, mut drawing) = (Top::default(), Drawing::new(color));
    let mut reader = Reader::default();
    while let Some(came) = came.recv().await {
        match came {
            Came::Key(Key::Resized) => screen.forget(),
            Came::Key(Key::Suspend) => screen.suspend(),
            Came::Key(_) | Came::Look(_) | Came::Logs(..) | Came::Answer(_) => {}
        }
        match took(&mut top, &mut reader, came) {
            Action::Leave => break,
            Action::Draw => {}
            Action::ReadLogs => reader.read(context, top.selected(), &sender),
            Action::Ask(app, wish) => ask(context, &app, wish, sender.clone())?,
        }
        screen.show(|frame| drawing.draw(&top, now(), frame));
    }
    drop(screen);
    Ok(Exit::Done)
}

/// Takes in what came.
fn took(top: &mut Top, reader: &mut Reader, came: Came) -> Action {
    match came {
        Came::Key(key) => return top.key(key),
        Came::Look(entries) => {
            top.looked(entries, now());
            if top.shows_logs() {
                return Action::ReadLogs;
            }
        }
        Came::Logs(of, lines) => {
            reader.has_read(&of);
            top.read(of, lines);
        }
        Came::Answer(text) => top.tell(&text),
    }
    Action::Draw
}

/// Sends each key as something that came.
fn forward(mut typed: mpsc::UnboundedReceiver<Key>, sender: mpsc::UnboundedSender<Came>) {
    tokio::spawn(async move {
        while let Some(key) = typed.recv().await {
            let _ = sender.send(Came::Key(key));
        }
    });
}

/// Looks at all apps at each interval.
fn look(context: &Context, sender: mpsc::UnboundedSender<Came>) {
    let places = context.places();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            if sender.send(Came::Look(list::gather(places.apps(), INTERVAL).await)).is_err() {
                return;
            }
        }
    });
}

/// Reads the journal beside the view, of one selection at a time: a journal may be slow.
#[derive(Debug, Default)]
struct Reader {
    reading: Option<(Selected, JoinHandle<()>)>,
}

impl Reader {
    fn read(&mut self, context: &Context, selected: Option<Selected>, came: &mpsc::UnboundedSender<Came>) {
        if self.reading.as_ref().is_some_and(|(of, _)| Some(of) == selected.as_ref()) {
            return;
        }
        self.stop();
        let Some((app, selected)) = selected.and_then(|it| Some((target::app(&it.app).ok()?, it))) else {
            return;
        };
        let users_own = context.is_users_own(&app);
        let words = journal::matches(&AppSlot { app, slot: selected.slot }, users_own);
        let (came, of) = (came.clone(), selected.clone());
        let task = tokio::spawn(async move {
            let lines = journal::tail_or_why(&words, LOG_LINES).await;
            let _ = came.send(Came::Logs(of, lines));
        });
        self.reading = Some((selected, task));
    }

    /// Nobody wants what is being read any more.
    fn stop(&mut self) {
        if let Some((_, task)) = self.reading.take() {
            task.abort();
        }
    }

    /// This is read; what was read of another selection says nothing about the one that is being read.
    fn has_read(&mut self, selected: &Selected) {
        self.reading.take_if(|(of, _)| of == selected);
    }
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
