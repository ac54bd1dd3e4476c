//! Compares a text with the one that is kept under `tests/golden/cli`; `UPDATE=1` keeps the new one.

use std::path::Path;

/// Fails with both texts when they differ.
pub(crate) fn compare(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli").join(name);
    let actual = format!("{}\n", actual.trim_end_matches('\n'));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        kept == actual,
        "{} differs (UPDATE=1 keeps the new one)\n--- kept\n{kept}\n--- now\n{actual}",
        name
    );
}
