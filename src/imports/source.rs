//! Finds what a source file names: the rooms that it imports, and its submodules that have their own files.

/// A word of Rust source, or one punctuation character.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// The tokens of a source, without comments and literals.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (length, is_token) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '/' if rest.starts_with("/*") => (block_comment(rest), false),
            '"' => (string(rest), false),
            '\'' => (character(rest), false),
            // A prefix of a literal (b"", r#""#), but not of a raw identifier (r#type).
            _ if word > 0 && is_raw(&rest[..word], &rest[word..]) => (word + raw_string(&rest[word..]), false),
            _ if word > 0 => (word, true),
            _ => (first.len_utf8(), !first.is_whitespace()),
        };
        let (text, after) = rest.split_at(length);
        if is_token {
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of a block comment, which may contain others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        match &text[at..] {
            rest if rest.starts_with("/*") => depth += 1,
            rest if rest.starts_with("*/") && depth == 1 => return at + 2,
            rest if rest.starts_with("*/") => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a literal with escapes, including both quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    quoted(text, '"')
}

/// The length of a character literal, or of the tick of a lifetime.
fn character(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

/// Whether a word and the text after it begin a raw string.
fn is_raw(word: &str, after: &str) -> bool {
    matches!(word, "r" | "br" | "cr") && after.trim_start_matches('#').starts_with('"')
}

/// The length of a raw string without its prefix.
fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let end = format!("\"{}", &text[..hashes]);
    text[hashes + 1..].find(&end).map_or(text.len(), |at| hashes + 1 + at + end.len())
}

/// What a source file names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    /// The rooms that it imports besides its own, with their lines.
    pub(super) rooms: Vec<(String, usize)>,
    /// The paths of its submodules that have their own files.
    pub(super) files: Vec<Vec<String>>,
}

/// What a module's source names, without its tests.
pub(super) fn names(source: &str, module: &[String]) -> Names {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut names = Names::default();
    // The module of each open brace; `None` if it is not a module's.
    let mut scopes: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = || module.iter().cloned().chain(scopes.iter().flatten().cloned()).collect::<Vec<_>>();
        match text(at) {
            "#" if (1..=6).map(|i| text(at + i)).eq(["[", "cfg", "(", "test", ")", "]"]) => {
                at = after_item(&tokens, at + 7);
                continue;
            }
            "mod" if text(at + 2) == ";" => {
                names.files.push(here().into_iter().chain([text(at + 1).to_owned()]).collect());
            }
            "mod" if text(at + 2) == "{" => {
                scopes.push(Some(text(at + 1).to_owned()));
                at += 2;
            }
            "{" => scopes.push(None),
            "}" => drop(scopes.pop()),
            "crate" | "super" if !(at > 0 && text(at - 1) == ":") => {
                let mut base = if text(at) == "crate" { Vec::new() } else { here() };
                let is_path = |at: usize| text(at + 1) == ":" && text(at + 2) == ":";
                let mut last = at;
                if text(at) == "super" {
                    base.pop();
                    while is_path(last) && text(last + 3) == "super" {
                        base.pop();
                        last += 3;
                    }
                }
                if base.is_empty() && is_path(last) {
                    names.rooms.extend(roots(&tokens, last + 3).map(|token| (token.text.to_owned(), token.line)));
                }
            }
            _ => {}
        }
        at += 1;
    }
    names.rooms.retain(|(room, _)| Some(room) != module.first());
    names
}

/// The first words of a path, or of each path in a group.
fn roots<'a>(tokens: &'a [Token<'a>], at: usize) -> impl Iterator<Item = Token<'a>> {
    let mut roots = Vec::new();
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        let begins = depth == 0 || depth == 1 && matches!(tokens[i - 1].text, "{" | ",");
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if begins => roots.push(*token),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    roots.into_iter()
}

/// The end of the item that begins here, with its attributes: after its semicolon or block.
fn after_item(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let is_end = token.text == ";" || token.text == "}" && tokens.get(at + 1).is_none_or(|next| next.text != ";");
        if depth == 0 && is_end {
            return at + 1;
        }
    }
    tokens.len()
}

/// A source, and what it names as the module `ops::operator::sweep`.
struct Case {
    source: &'static str,
    rooms: &'static [&'static str],
}

#[test]
fn what_a_source_names_is_found_however_it_is_written() {
    let cases = [
        Case { source: "use crate::store::Key;", rooms: &["store"] },
        Case { source: "use crate::{cni::{Dns, Route}, config as c, store};", rooms: &["cni", "config", "store"] },
        Case { source: "use crate as all;", rooms: &[] },
        Case { source: "use crate::*;", rooms: &["*"] },
        Case { source: "fn f() { crate::wire::probe() }", rooms: &["wire"] },
        Case { source: "mac!(x, crate::wire::Mac)", rooms: &["wire"] },
        Case { source: "use super::Call; use self::x::y; pub(crate) mod z;", rooms: &[] },
        Case { source: "use crate::ops::Call; pub(in crate::ops) fn f() {}", rooms: &[] },
        Case { source: "use super::super::config;", rooms: &["config"] },
        Case {
            source: "mod inner { use super::super::Call; use super::super::super::record::Lock; }",
            rooms: &["record"],
        },
        Case { source: "mod inner {} use super::super::cni::Code;", rooms: &["cni"] },
        Case { source: "// use crate::cni;\n/* /* */ crate::cni:: */ let a = \"crate::cni\";", rooms: &[] },
        Case {
            source: "let a = r#\"\" crate::cni \"#; let b = '\"'; let c: &'a str = \"'\"; crate::store::x",
            rooms: &["store"],
        },
        Case { source: "#[cfg(test)] use crate::cni::{self}; use crate::store;", rooms: &["store"] },
        Case { source: "#[cfg(test)] #[allow(x)] mod tests { use crate::cni; } use crate::store;", rooms: &["store"] },
    ];
    let module = ["ops", "sweep"].map(str::to_owned);
    for Case { source, rooms } in cases {
        let found = names(source, &module).rooms.into_iter().map(|(room, _)| room).collect::<Vec<_>>();
        assert_eq!(found, rooms, "{source}");
    }
}

#[test]
fn a_module_of_a_test_is_not_followed_and_lines_are_counted() {
    let source = "mod a;\n#[cfg(test)]\nmod tests;\nmod b {\n    pub mod c;\n}\n/* \n */ use crate::cni;\n";
    let names = names(source, &["ops".to_owned()]);
    assert_eq!(names.files, [vec!["ops", "a"], vec!["ops", "b", "c"]]);
    assert_eq!(names.rooms, [("cni".to_owned(), 8)]);
}
