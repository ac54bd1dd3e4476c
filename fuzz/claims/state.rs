//! What holds for every hand-over document, whoever wrote it. Used by the fuzzer and, on its corpus, by
//! `tests/corpus.rs`.

use std::time::Duration;

use ganger::pool::{Event, Pool, PoolPhase};
use ganger::proto::state::State;
use ganger::time::Monotonic;

/// Fails when one of the claims does not hold for `document`.
pub(crate) fn check(document: &[u8]) {
    let Ok(state) = State::read(document) else { return };
    let written = state.write().unwrap();
    assert_eq!(State::read(&written).as_ref(), Ok(&state), "what is written is read as the same");
    let now = Monotonic::from_origin(state.settled_at.0);
    let Ok(mut pool) = Pool::restore(state, now) else { return };
    let saved = pool.save();
    let settled = Monotonic::from_origin(saved.settled_at.0);
    assert_eq!(Pool::restore(saved, settled).as_ref(), Ok(&pool), "what is saved is restored as the same");
    let later = now + Duration::from_secs(60);
    for event in [Event::TimePassed, Event::CalendarElapsed, Event::TimePassed, Event::Interrupted] {
        let _ = pool.handle(later, event);
        let _ = pool.next_deadline();
    }
    assert_eq!(pool.view().phase, PoolPhase::Stopping);
}
