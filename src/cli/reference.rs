//! Holds docs/reference-cli.md to the definition of the command line.
//!
//! ```text
//!  clap::Command ──► a block per verb: usage, arguments, options ──► <!-- generated: VERB --> … <!-- end -->
//! ```
//!
//! `UPDATE_REFERENCE=1 cargo test --lib cli::reference` writes the blocks. The text around them is written by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's verdict is a panic")]

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Arg, Args as _, Command};

use super::store::StoreArgs;

/// How to write the page.
const UPDATE: &str = "UPDATE_REFERENCE=1 cargo test --lib cli::reference";

/// The ends of the comment that begins a block, and the comment that ends it.
const OPENING: (&str, &str) = ("<!-- generated: ", " -->\n");
const CLOSING: &str = "<!-- end -->";

/// The names of the blocks that are about no single verb.
const VERBS: &str = "verbs";
const STORE: &str = "store";

/// The blocks by name.
fn blocks() -> BTreeMap<String, String> {
    let mut command = super::command();
    command.build();
    let mut blocks: BTreeMap<String, String> = command
        .get_subcommands_mut()
        .map(|verb| (verb.get_name().to_owned(), usage(verb) + &options(verb, &store_arguments())))
        .collect();
    blocks.insert(VERBS.to_owned(), verbs(&command));
    let store = options(&StoreArgs::augment_args(Command::new(STORE)), &[]);
    blocks.insert(STORE.to_owned(), store.trim_start().to_owned());
    blocks
}

fn store_arguments() -> Vec<Arg> {
    StoreArgs::augment_args(Command::new(STORE)).get_arguments().cloned().collect()
}

fn verbs(command: &Command) -> String {
    let row = |verb: &Command| {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        format!("| [`kube-ipam {name}`](#{name}) | {} |\n", markdown(&about), name = verb.get_name())
    };
    "| command | purpose |\n|---|---|\n".to_owned() + &command.get_subcommands().map(row).collect::<String>()
}

fn usage(verb: &mut Command) -> String {
    let usage = verb.render_usage().to_string();
    format!("```text\n{}\n```\n", usage.trim_start_matches("Usage: "))
}

/// The table of a command's arguments and options. Those that it shares are named in one row, which leads to their own
/// table.
fn options(command: &Command, shared: &[Arg]) -> String {
    let is_shared = |arg: &Arg| shared.iter().any(|shared| row(shared) == row(arg));
    let is_own = |arg: &&Arg| !arg.is_hide_set() && arg.get_id() != "help" && !is_shared(arg);
    let (positional, flags): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().filter(is_own).partition(|arg| arg.is_positional());
    let mut rows: Vec<String> = positional.into_iter().chain(flags).map(row).collect();
    let shared: Vec<String> = command.get_arguments().filter(|arg| is_shared(arg)).map(long_flag).collect();
    if !shared.is_empty() {
        rows.push(format!("| {} | The [store](#which-store) |\n", shared.join(", ")));
    }
    match rows.is_empty() {
        true => String::new(),
        false => "\n| argument or option | meaning |\n|---|---|\n".to_owned() + &rows.concat(),
    }
}

fn row(arg: &Arg) -> String {
    let values: String = match arg.get_action().takes_values() {
        true => arg.get_value_names().unwrap_or_default().iter().map(|name| format!(" <{name}>")).collect(),
        false => String::new(),
    };
    let name = match arg.get_long() {
        Some(_) => {
            let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
            let long = long_flag(arg);
            format!("{short}{}{values}`", long.trim_end_matches('`'))
        }
        None if arg.is_required_set() => format!("`{}`", values.trim()),
        None => format!("`[{}]`", values.trim().trim_matches(['<', '>'])),
    };
    format!("| {} | {} |\n", name.replace('|', "\\|"), meaning(arg))
}

fn long_flag(arg: &Arg) -> String {
    format!("`--{}`", arg.get_long().unwrap_or_default())
}

/// The help of an argument, its values and its default.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = markdown(&help);
    let mut sentences = vec![help.strip_suffix('.').unwrap_or(&help).to_owned()];
    let defaults: Vec<String> = match arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        true => arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect(),
        false => Vec::new(),
    };
    let values: Vec<String> =
        arg.get_possible_values().iter().filter(|value| !value.is_hide_set()).map(value).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        sentences.push(values.join("; "));
    }
    if !defaults.is_empty() {
        sentences.push(format!("Default: {}", defaults.join(", ")));
    }
    sentences.join(". ")
}

fn value(value: &clap::builder::PossibleValue) -> String {
    let help = value.get_help().map(|help| format!(": {}", markdown(&help.to_string()))).unwrap_or_default();
    format!("`{}`{help}", value.get_name())
}

/// A help text as one line of Markdown, with options as code. Its first paragraph has no full stop, because it is also
/// the short help.
fn markdown(help: &str) -> String {
    let paragraph = |text: &str| text.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    let paragraphs: Vec<String> = help.split("\n\n").map(paragraph).collect();
    paragraphs.join(". ").replace('|', "\\|")
}

/// A word, as code if it is an option, a path or a name in angle brackets.
fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| ".,;:()".contains(c));
    let is_option = bare.starts_with("--") && bare.len() > 2;
    let is_path = bare.starts_with('/') && bare.len() > 1;
    match is_option || is_path || bare.starts_with('<') {
        true => word.replacen(bare, &format!("`{bare}`"), 1),
        false => word.to_owned(),
    }
}

/// The page with these blocks, and the names of the blocks that it has no place for.
fn updated(page: &str, mut blocks: BTreeMap<String, String>) -> (String, Vec<String>) {
    let mut parts = page.split(OPENING.0);
    let mut updated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(OPENING.1).unwrap();
        let (_, after) = rest.split_once(CLOSING).unwrap_or_else(|| panic!("the block {name} has no {CLOSING}"));
        let block = blocks.remove(name).unwrap_or_else(|| panic!("there is no verb {name}, or it has two blocks"));
        updated += &[OPENING.0, name, OPENING.1, &block, CLOSING, after].concat();
    }
    (updated, blocks.into_keys().collect())
}

#[test]
fn the_reference_of_the_command_line_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference-cli.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (updated, missing) = updated(&page, blocks());
    let places: Vec<String> = missing.iter().map(|name| [OPENING.0, name, OPENING.1, CLOSING].concat()).collect();
    assert!(missing.is_empty(), "docs/reference-cli.md needs a section for {missing:?}, with\n{}", places.join("\n"));
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &updated).unwrap();
    } else {
        assert!(page == updated, "docs/reference-cli.md is not current; write it with {UPDATE}");
    }
}

#[test]
fn a_block_has_what_clap_knows_of_a_command() {
    #[derive(clap::Args)]
    struct Sample {
        /// What is sampled
        #[arg(value_name = "SUBJECT")]
        subject: String,
        /// How often; see --all
        ///
        /// More: a|b.
        #[arg(short, long, value_name = "TIMES", default_value = "2")]
        number: u32,
        /// All of it
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        store: StoreArgs,
    }
    let command = Sample::augment_args(Command::new("sample"));
    assert_eq!(
        options(&command, &store_arguments()),
        "
| argument or option | meaning |
|---|---|
| `<SUBJECT>` | What is sampled |
| `-n`, `--number <TIMES>` | How often; see `--all`. More: a\\|b. Default: `2` |
| `--all` | All of it |
| `--store`, `--data-dir`, `--config` | The [store](#which-store) |
"
    );
}

#[test]
fn a_page_gets_new_blocks_and_keeps_the_rest() {
    let blocks = || BTreeMap::from([("a".to_owned(), "new\n".to_owned()), ("b".to_owned(), "none\n".to_owned())]);
    let (page, missing) = updated("before\n<!-- generated: a -->\nold\n<!-- end -->\nafter\n", blocks());
    assert_eq!(page, "before\n<!-- generated: a -->\nnew\n<!-- end -->\nafter\n");
    assert_eq!(missing, ["b"]);
}
