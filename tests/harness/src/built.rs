//! Where cargo put the programs under test: the binary of this build, and the examples built on demand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The profile's folder, `target/debug` or its like: the test binary lies in its `deps/`.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test binary");
    let dir = test.parent().expect("a folder around the test binary");
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.parent().expect("a profile's folder").to_owned()
    } else {
        dir.to_owned()
    }
}

/// The ganger binary under test; cargo builds it before any integration test runs.
pub fn ganger() -> PathBuf {
    profile_dir().join("ganger")
}

/// An example program (`examples/NAME.rs`), built with this build's profile if it is not fresh.
///
/// # Panics
/// Where it does not compile.
pub fn example(name: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let profile = profile_dir();
    // One build at a time; a panic here has said why already.
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !built.iter().any(|done| done == name) {
        build(name, &profile);
        built.push(name.to_owned());
    }
    profile.join("examples").join(name)
}

fn build(name: &str, profile: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--example", name]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let out = command.current_dir(checkout()).output().expect("cargo starts");
    assert!(out.status.success(), "example {name} does not build:\n{}", String::from_utf8_lossy(&out.stderr));
}

/// The top of the checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
