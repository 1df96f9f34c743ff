//! What the pages quote of the program is what it prints today.
//!
//! Quotes are inline code of at least four words, and the lines of `console` blocks below their command. A block of
//! another language is a drawing, a file or a list of commands.

use super::commands::is_command;
use super::page::{Place, Snippet, operator_pages};
use super::texts::Texts;

/// Fewer words are names, keys and states.
pub(crate) const MIN_WORDS: usize = 4;

/// What the pages quote of other programs.
const OF_OTHERS: [(&str, &str); 5] = [
    ("the kubelet", "container init was OOM-killed"),
    ("the kubelet", "FailedMount … failed to sync configmap cache"),
    ("the kubelet", "netplugin failed with no error message: signal: killed"),
    ("the container runtime", "failed to find plugin"),
    ("jq", "\"10.188.0.0/24\""),
];

/// With these begins inline code that is a command line of another program, or a query for Prometheus.
const OTHER_LANGUAGES: [&str; 8] = ["kubectl", "etcdctl", "sqlite3", "rustup", "ip", "sum", "cargo", "apt-get"];

/// Whether it is JSON, or a key with its value, as in a configuration.
fn is_config(text: &str) -> bool {
    let is_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    is_json(text) || is_json(&format!("{{{text}}}")) || text.contains(": {")
}

/// The parts of a snippet that quote a text: cells of a table are apart.
fn quotes<'a>(snippet: &'a Snippet<'_>) -> Vec<&'a str> {
    let text = snippet.text.trim();
    match snippet.place {
        Place::Block("console") if text.starts_with('$') || text.starts_with(['{', '}', '[', ']', '"']) => Vec::new(),
        Place::Block("console") => text.split("  ").collect(),
        Place::Block(_) => Vec::new(),
        Place::Inline if is_config(text) || is_command(text) => Vec::new(),
        Place::Inline => vec![text],
    }
}

fn is_of_another_program(quote: &str) -> bool {
    OF_OTHERS.iter().any(|(_, text)| *text == quote)
        || quote.split_whitespace().next().is_some_and(|word| OTHER_LANGUAGES.contains(&word))
}

#[test]
fn every_text_that_the_pages_quote_is_one_that_the_program_prints() {
    let texts = Texts::of_the_program();
    let (mut stale, mut seen) = (Vec::new(), 0);
    for page in operator_pages() {
        for snippet in page.snippets() {
            let is_stale = |quote: &&str| {
                quote.split_whitespace().count() >= MIN_WORDS && !is_of_another_program(quote) && !texts.explain(quote)
            };
            let quotes = quotes(&snippet);
            seen += quotes.len();
            if quotes.iter().any(is_stale) {
                stale.push(snippet.to_string());
            }
        }
    }
    assert!(seen > 300, "only {seen} quotes were found");
    assert!(
        stale.is_empty(),
        "the program prints no such text; quote what it prints today, with <…> for what varies and … for what is left \
         out, or name the text in OF_OTHERS if another program prints it:\n{}",
        stale.join("\n")
    );
}

#[test]
fn every_table_that_the_pages_show_has_the_columns_of_today() {
    let texts = Texts::of_the_program();
    let pages = operator_pages();
    let snippets = pages.iter().flat_map(|page| page.snippets()).filter(|s| s.place == Place::Block("console"));
    let is_heading = |cell: &str| cell.chars().all(|c| c.is_ascii_uppercase());
    let mut seen = 0;
    for snippet in snippets {
        let cells: Vec<&str> = snippet.text.split_whitespace().collect();
        if cells.len() > 2 && cells.iter().all(|cell| is_heading(cell)) {
            let has_columns = texts.has_headings(&cells);
            assert!(has_columns, "{snippet}: no table has these columns today; show those that it has");
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} tables were found");
}

#[test]
fn every_text_of_another_program_is_quoted_somewhere() {
    let pages = operator_pages();
    for (program, text) in OF_OTHERS {
        let is_quoted = pages.iter().flat_map(|page| page.snippets()).any(|snippet| snippet.text == text);
        assert!(is_quoted, "no page quotes {text:?} of {program} any more; take it off OF_OTHERS");
    }
}
