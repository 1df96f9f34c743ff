//! Checks which room (top-level module) may import which. Imports go in one direction, so that each room can be read,
//! tested and changed on its own.
//!
//! ```text
//! src/lib.rs ─ mod … ─► every file without tests ─ use, paths ─► the rooms that it names ─► ROOMS
//!                                                    docs/design.md, column "imports" ──────►
//! ```
//!
//! Limits: it reads text and resolves no names. A re-exported item counts as the re-exporting room's. Paths that macros
//! build are not seen. Tests (`cfg(test)`) may import anything.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::source::{Names, names};

/// A room and the rooms that it may import. All of them are above it in the list, so that there are no cycles.
struct Room {
    name: &'static str,
    imports: &'static [&'static str],
}

const fn room(name: &'static str, imports: &'static [&'static str]) -> Room {
    Room { name, imports }
}

/// The list. It must not contain more than the code needs: an import that no file uses has to be removed.
const ROOMS: &[Room] = &[
    room("cause", &[]),
    room("certificate", &[]),
    room("deadline", &[]),
    room("flock", &[]),
    room("manifest", &[]),
    room("apiserver", &["cause", "deadline"]),
    room("store", &["cause", "certificate", "deadline", "apiserver"]),
    room("ipam", &["cause", "store"]),
    room("node", &["ipam"]),
    room("metrics", &["ipam"]),
    room("cni", &["ipam"]),
    room("host_local", &["ipam", "cni"]),
    room("wire", &["deadline", "ipam"]),
    room("record", &["cause", "deadline", "flock", "store", "ipam"]),
    room("config", &["cause", "apiserver", "store", "ipam", "cni"]),
    room("telemetry", &["deadline", "ipam", "config"]),
    room("cluster", &["cause", "certificate", "deadline", "apiserver", "ipam"]),
    room("error", &["cause", "store", "ipam", "cni", "record", "config", "cluster"]),
    room("explain", &["cause", "ipam"]),
    room("plan", &["cause", "store", "ipam", "manifest", "config"]),
    room("install", &["flock", "ipam", "record", "config", "cluster"]),
    room(
        "ops",
        &[
            "cause",
            "certificate",
            "deadline",
            "store",
            "ipam",
            "node",
            "cni",
            "host_local",
            "wire",
            "record",
            "config",
            "telemetry",
            "cluster",
            "error",
            "explain",
            "plan",
            "install",
        ],
    ),
    room("controller", &["cause", "deadline", "store", "ipam", "metrics", "config", "cluster", "error", "ops"]),
    room(
        "cli",
        &[
            "cause",
            "deadline",
            "store",
            "ipam",
            "metrics",
            "config",
            "telemetry",
            "cluster",
            "error",
            "explain",
            "plan",
            "ops",
            "install",
            "controller",
        ],
    ),
];

/// What to do about an import that is not in the list.
const CURE: &str = "let the room take a type of its own, which the other one makes, or pass the value in ops, where rooms \
                    meet; if the import is right, add it to ROOMS in src/imports.rs and to the table in docs/design.md";

/// The file of a module, and what it names.
fn read(src: &Path, module: &[String]) -> (PathBuf, Names) {
    let path = module.iter().collect::<PathBuf>();
    let files = [path.with_extension("rs"), path.join("mod.rs")];
    let file = files.into_iter().find(|file| src.join(file).is_file());
    let file = file.unwrap_or_else(|| panic!("there is no file of module {}", module.join("::")));
    let names = names(&fs::read_to_string(src.join(&file)).unwrap(), module);
    (Path::new("src").join(file), names)
}

/// All imports of the crate: a room, what it imports, and where.
fn imports(src: &Path) -> Vec<(String, String, String)> {
    let mut modules = names(&fs::read_to_string(src.join("lib.rs")).unwrap(), &[]).files;
    let mut imports = Vec::new();
    while let Some(module) = modules.pop() {
        let (file, names) = read(src, &module);
        let place = |line| format!("{}:{line}", file.display());
        imports.extend(names.rooms.into_iter().map(|(room, line)| (module[0].clone(), room, place(line))));
        modules.extend(names.files);
    }
    imports.sort();
    imports
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn imports_between_rooms_are_those_of_the_list() {
    let imports = imports(&root().join("src"));
    let is_listed = |from: &str, to: &str| ROOMS.iter().any(|room| room.name == from && room.imports.contains(&to));
    let against: Vec<String> = imports
        .iter()
        .filter(|(from, to, _)| !is_listed(from, to))
        .map(|(from, to, place)| format!("{place}: {from} may not import {to}"))
        .collect();
    assert!(against.is_empty(), "{}\n{CURE}", against.join("\n"));

    let made: BTreeSet<(&str, &str)> = imports.iter().map(|(from, to, _)| (from.as_str(), to.as_str())).collect();
    let listed = ROOMS.iter().flat_map(|room| room.imports.iter().map(|to| (room.name, *to)));
    let unused: Vec<_> = listed.filter(|edge| !made.contains(edge)).collect();
    assert!(unused.is_empty(), "no file needs these imports any more, take them off the list: {unused:?}");
}

#[test]
fn a_room_imports_only_what_stands_above_it() {
    for (i, room) in ROOMS.iter().enumerate() {
        let is_above = |name: &&str| ROOMS[..i].iter().any(|above| above.name == *name);
        let below: Vec<_> = room.imports.iter().filter(|name| !is_above(name)).collect();
        assert!(below.is_empty(), "{} is to stand below {below:?}, or not to import them", room.name);
    }
}

/// A call of the runtime runs verbs of `ops`, and those use what they import. A plan is for people: the operator's verb
/// and the command line are the only ones that know of it.
#[test]
fn no_cni_call_reaches_the_plan_of_manifests() {
    let src = root().join("src");
    let is_operators =
        |place: &str| ["src/plan/", "src/ops/operator/", "src/cli/"].iter().any(|of| place.starts_with(of));
    let is_plan = |to: &str| matches!(to, "plan" | "manifest");
    let imports = imports(&src);
    let reached: Vec<_> = imports.iter().filter(|(_, to, place)| is_plan(to) && !is_operators(place)).collect();
    assert!(reached.is_empty(), "{reached:?}");
    assert!(imports.iter().any(|(_, to, place)| is_plan(to) && place.starts_with("src/ops/operator/")), "{imports:?}");
    let mut seen = 0;
    for entry in fs::read_dir(src.join("ops")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&entry).unwrap();
            assert!(!text.contains("operator::"), "{}: a call may not run an operator's verb", entry.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} files were found");
}

/// A watch waits for ever, and a call has a deadline. Watches are for people, for the controller and for pages.
#[test]
fn no_cni_call_opens_a_watch_of_a_store() {
    let src = root().join("src");
    let may_watch = ["src/store/", "src/ops/operator/", "src/controller/", "src/cli/"];
    let mut modules = names(&fs::read_to_string(src.join("lib.rs")).unwrap(), &[]).files;
    let (mut watching, mut seen) = (Vec::new(), 0);
    while let Some(module) = modules.pop() {
        let (file, names) = read(&src, &module);
        modules.extend(names.files);
        seen += 1;
        // A longer name is no call of `Store::changes`.
        let text = fs::read_to_string(root().join(&file)).unwrap();
        if text.contains(".changes(&") || text.contains("store::Watch") {
            watching.push(file.display().to_string());
        }
    }
    let is_allowed = |file: &&String| may_watch.iter().any(|room| file.starts_with(room));
    let others: Vec<_> = watching.iter().filter(|file| !is_allowed(file)).collect();
    assert!(others.is_empty(), "{others:?} may not open a watch");
    assert!(seen > 100 && watching.iter().any(|file| file.starts_with("src/ops/operator/watch")), "{watching:?}");
}

#[test]
fn the_design_page_shows_the_list() {
    let page = fs::read_to_string(root().join("docs/design.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| room | ")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let shown: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let room = cells[0].trim_matches('`').trim_start_matches("src/");
            (room.trim_end_matches('/').trim_end_matches(".rs").to_owned(), cells.last().unwrap().replace('`', ""))
        })
        .collect();
    let listed = |room: &Room| match room.imports {
        [] => (room.name.to_owned(), "nothing".to_owned()),
        imports => (room.name.to_owned(), imports.join(", ")),
    };
    let listed: Vec<_> = ROOMS.iter().map(listed).collect();
    assert_eq!(shown, listed, "the table of rooms in docs/design.md and ROOMS are to say the same, in one order");
}
