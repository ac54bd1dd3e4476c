//! What an app is called that has nothing but a command: as its program, or as its script when the program is an
//! interpreter, so that two apps of one language can run side by side. It decides on names; no file is read.

use std::ffi::OsString;
use std::path::Path;

use crate::plan::AppName;

/// What an app is called that no name can be made for.
const NAMELESS: &str = "app";

/// The name of the app that `argv` runs; `None` when not even the general one is a name.
pub(super) fn of_command(argv: &[OsString]) -> Option<AppName> {
    let program = argv.first().and_then(|first| stem(&first.to_string_lossy()));
    let words: Vec<_> = argv.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let script = program.as_deref().filter(|name| is_interpreter(name)).and_then(|_| script(&words));
    script.and_then(stem).and_then(|name| cleaned(&name)).or_else(|| {
        let program = program.and_then(|name| AppName::new(&name).ok());
        program.or_else(|| AppName::new(NAMELESS).ok())
    })
}

/// A path's last part without its ending.
fn stem(path: &str) -> Option<String> {
    Path::new(path).file_stem()?.to_str().map(str::to_owned)
}

/// `python3`, `python3.12`, `node22` and so on: what runs scripts of many apps.
fn is_interpreter(stem: &str) -> bool {
    let language =
        stem.trim_end_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | '-'));
    matches!(
        language,
        "node"
            | "nodejs"
            | "tsx"
            | "ts-node"
            | "deno"
            | "bun"
            | "python"
            | "pypy"
            | "ruby"
            | "php"
            | "perl"
            | "java"
    )
}

/// The script among an interpreter's words; `None` when an option stands before it whose words are not known.
fn script(words: &[impl AsRef<str>]) -> Option<&str> {
    let mut words = words.iter().map(AsRef::as_ref);
    loop {
        match words.next()? {
            "run" | "serve" => {}
            "-m" | "-jar" | "--" => return words.next(),
            "-r"
            | "--require"
            | "--import"
            | "--loader"
            | "--experimental-loader"
            | "-C"
            | "--conditions"
            | "-I"
            | "-W"
            | "-X"
            | "-d"
            | "-cp"
            | "-classpath"
            | "--class-path" => {
                words.next();
            }
            "-c" | "-e" | "-p" | "--eval" | "--print" | "-S" | "-" => return None,
            option if option.starts_with('-') => {}
            script => return Some(script),
        }
    }
}

/// The name with a dash for whatever no name holds.
fn cleaned(text: &str) -> Option<AppName> {
    let dashed = text.chars().map(|letter| match letter {
        '-' | '_' | '.' => letter,
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    });
    let name: String = dashed.collect();
    let name: String = name.trim_matches(['-', '.']).chars().take(AppName::MAX_LEN).collect();
    AppName::new(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_gives_its_scripts_name_and_any_other_program_its_own() {
        for (command, name) in [
            ("./server --port 1", "server"),
            ("/usr/bin/worker.bin", "worker"),
            ("node server.js --port 1", "server"),
            ("/opt/node/bin/node22 --enable-source-maps --import tsx ./src/api.v2.ts", "api.v2"),
            ("node --require=x.js a.js", "a"),
            ("python3.12 -u app.py", "app"),
            ("python3 -m uvicorn main:app", "uvicorn"),
            ("ruby -I lib my server.rb", "my"),
            ("java -cp a.jar:b.jar -jar /srv/shop.jar", "shop"),
            ("php -d x=1 index.php", "index"),
            ("deno run -A main.ts", "main"),
            ("node /srv/über.js", "ber"),
            ("node ./-.js", "node"),
            ("node -e 1", "node"),
            ("python3", "python3"),
            ("npm start", "npm"),
            ("über", "app"),
        ] {
            let argv: Vec<_> = command.split(' ').map(OsString::from).collect();
            assert_eq!(of_command(&argv).unwrap().as_str(), name, "{command}");
        }
        assert_eq!(of_command(&[]).unwrap().as_str(), "app");
        let long = [OsString::from("node"), OsString::from("a".repeat(100) + ".js")];
        assert_eq!(of_command(&long).unwrap().as_str().len(), AppName::MAX_LEN);
    }
}
