//! `ganger top`: a live view of all apps, with keys to steer them.

use tokio::sync::mpsc;

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
        if matches!(came, Came::Key(Key::Resized)) {
            screen.forget();
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
            top.read(of, lines);
            if reader.is_done() && top.shows_logs() {
                return Action::ReadLogs;
            }
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

/// Reads the journal beside the view, once at a time: a journal may be slow.
#[derive(Debug, Default)]
struct Reader {
    reading: Option<Selected>,
    again: bool,
}

impl Reader {
    fn read(&mut self, context: &Context, selected: Option<Selected>, came: &mpsc::UnboundedSender<Came>) {
        if self.reading.is_some() {
            self.again = self.reading != selected;
            return;
        }
        let Some((app, selected)) = selected.and_then(|it| Some((target::app(&it.app).ok()?, it))) else {
            return;
        };
        let users_own = context.is_users_own(&app);
        let words = journal::matches(&AppSlot { app, slot: selected.slot }, users_own);
        let (came, of) = (came.clone(), selected.clone());
        // A thread that nobody waits for: leaving is not held up by it.
        let started = std::thread::Builder::new().name("journal".into()).spawn(move || {
            let lines = journal::tail_or_why(&words, LOG_LINES);
            let _ = came.send(Came::Logs(of, lines));
        });
        self.reading = started.is_ok().then_some(selected);
    }

    /// What was being read is read; tells whether something else has been asked for meanwhile.
    fn is_done(&mut self) -> bool {
        self.reading = None;
        std::mem::take(&mut self.again)
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
