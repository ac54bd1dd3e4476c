//! Any bytes are a configuration or a list of faults, and nothing else.
#![no_main]

use std::path::Path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match ganger::config::check_bytes(Path::new("app.toml"), bytes, 4) {
        Ok(loaded) => {
            assert!((1..=ganger::plan::MAX_WORKERS).contains(&loaded.plan.workers));
            assert!(!loaded.plan.command.argv.is_empty());
            let _ = loaded.warnings.render(true);
        }
        Err(faults) => assert!(!faults.to_string().is_empty()),
    }
});
