//! Whether somebody still reads standard output. A view that follows ends with its reader, also while there is
//! nothing to write to it.

use std::io;

use tokio::io::Interest;

use crate::os::{pipes, watched::watched};

/// Waits until the other end of standard output is closed. A file has none: then for ever.
pub(crate) async fn gone() {
    let out = pipes::duplicate(io::stdout()).map_err(io::Error::from).and_then(watched);
    if let Ok(out) = out {
        while let Ok(mut guard) = out.ready(Interest::WRITABLE).await {
            if guard.ready().is_write_closed() {
                return;
            }
            // It only took something in.
            guard.clear_ready();
        }
    }
    std::future::pending().await
}
