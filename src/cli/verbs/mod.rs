//! One verb a file: from what was typed to what is done.

pub(super) mod check;
pub(super) mod completions;
pub(super) mod events;
pub(super) mod init;
pub(super) mod list;
pub(super) mod logs;
pub(super) mod reload;
pub(super) mod reset;
pub(super) mod restart;
pub(super) mod run;
pub(super) mod scale;
pub(super) mod send;
pub(super) mod signal;
pub(super) mod slots;
pub(super) mod status;
pub(super) mod top;
pub(super) mod units;
