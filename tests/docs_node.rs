//! `docs/node-cluster-behaviours.md` names tests and fuzz targets: each of them exists.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The file that `n/lives` and the like stand for.
fn file(short: &str) -> Option<PathBuf> {
    let (folder, name) = short.split_once('/')?;
    let folder = match folder {
        "n" => "tests/node",
        "a" => "tests/node_app",
        "s" => "src/node",
        _ => return None,
    };
    Some(root().join(folder).join(name).with_extension("rs"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is wrong with a row's third column.
fn wrong(shown_by: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut place, mut named) = (None, 0);
    for (at, part) in shown_by.split('`').enumerate() {
        if at % 2 == 0 {
            // Outside of backticks: where the next names are.
            let fuzz = part.contains("fuzz").then(|| root().join("fuzz/fuzz_targets"));
            let last = part.split([' ', ',', ':', '(']).filter_map(file).next_back();
            named += usize::from(last.is_some());
            wrong.extend(
                last.iter().filter(|path| !path.exists()).map(|path| format!("no {}", path.display())),
            );
            place = last.or(fuzz).or(place);
            continue;
        }
        named += 1;
        let exists = match &place {
            Some(folder) if folder.is_dir() => folder.join(part).with_extension("rs").exists(),
            Some(path) => {
                let whole = part.trim_end_matches('…');
                let name = if whole == part { format!("fn {part}(") } else { format!("fn {whole}") };
                read(path).contains(&name)
            }
            None => root().join(part).exists(),
        };
        if !exists {
            wrong.push(format!("`{part}` is not there"));
        }
    }
    if named == 0
        && !["ganger ", "does not reach", "the channel's end"].iter().any(|why| shown_by.starts_with(why))
    {
        wrong.push(format!("\"{shown_by}\" names no test and no reason"));
    }
    wrong
}

#[test]
fn every_test_that_the_list_of_behaviours_names_exists() {
    let text = read(&root().join("docs/node-cluster-behaviours.md"));
    let rows = text.lines().filter(|line| line.starts_with("| `")).skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
    assert!(rows.len() >= 30 && rows.iter().all(|row| row.len() == 4), "{rows:?}");
    let wrong: Vec<String> = rows
        .iter()
        .flat_map(|row| wrong(row[2]).into_iter().map(|what| format!("{}: {what}", row[0])))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(wrong("n/lives `a_worker_sees_itself_…`, a/messages").is_empty());
    assert_eq!(wrong("n/lives `a_worker_flies_…`").len(), 1);
    assert_eq!(wrong("fuzz `node_frames`, `nothing`").len(), 1);
    assert_eq!(wrong("surely").len(), 1);
}
