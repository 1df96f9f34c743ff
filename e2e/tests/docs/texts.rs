//! The texts that the program can print, as far as its sources show them, and whether a quote is one of them.
//!
//! ```text
//!  literal    "{ip} is held by {holder}, since {at}"      fragments    [is held by] [since]
//!  literal    "pod {}, interface {}, node {}"                          [pod] [interface] [node]
//!
//!  quote       10.188.0.218 is held by pod database/db-0, interface net1, node …
//!  explained   value        └ fragment ┘└ ┘ value         └ fragment┘ value …
//! ```
//!
//! A quote is explained by a row of fragments and values. Between two values, or two values and fragments, a fragment
//! is whole. Only where the quote begins or ends, or leaves something out (…), may it be a part of one. Where two
//! fragments meet without a value, one was filled into the other's placeholder; a quote may have few of these, since
//! any sentence could be put together from single words.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use kube_ipam_e2e::checkout::{files, root};

/// Two fragments that meet without a value cost one, and a single word one more on each side on which it meets another.
const MAX_COST: u32 = 3;

/// What can't be explained.
const IMPOSSIBLE: u32 = 1_000;

/// A stretch of a text between two placeholders, in words.
type Fragment = Vec<String>;

/// A word of a quote.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// It must be in a source.
    Word(String),
    /// It may be in a source, or fill a placeholder.
    Either(String),
    /// It fills a placeholder.
    Value,
    /// Something is left out here.
    Elision,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) | Self::Either(word) => Some(word),
            Self::Value | Self::Elision => None,
        }
    }
}

/// What stands before a place in a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Before {
    /// The beginning, or an elision.
    Nothing,
    /// A value.
    Value,
    /// The end of a fragment.
    Fragment,
}

/// The fragments of all literals in the sources.
pub(crate) struct Texts {
    fragments: Vec<Fragment>,
    /// Where each word is: fragment and position.
    places: HashMap<String, Vec<(usize, usize)>>,
    /// The literals of each source, in their order.
    literals: Vec<Vec<String>>,
    /// The script of the tour.
    tour: String,
}

impl Texts {
    /// Those of kube-ipam, with the snapshots in its tests, and of the tour that `e2e/try` gives.
    pub(crate) fn of_the_program() -> Self {
        let sources = ["src", "e2e/src"].map(|folder| files(folder, ".rs")).concat();
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::new(sources.iter().map(|path| literals(&read(path))).collect(), read(&root().join("e2e/try")))
    }

    fn new(literals: Vec<Vec<String>>, tour: String) -> Self {
        let lines = literals.iter().flatten().flat_map(|literal| literal.lines());
        let mut fragments: Vec<Fragment> = lines.flat_map(fragments).filter(|words| !words.is_empty()).collect();
        fragments.sort_unstable();
        fragments.dedup();
        let mut places: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        for (at, fragment) in fragments.iter().enumerate() {
            for (position, word) in fragment.iter().enumerate() {
                places.entry(word.clone()).or_default().push((at, position));
            }
        }
        Self { fragments, places, literals, tour }
    }

    /// Whether the program may print this.
    pub(crate) fn explain(&self, quote: &str) -> bool {
        self.cost(&tokens(quote), 0, Before::Nothing, &mut HashMap::new()) <= MAX_COST
    }

    /// Whether a source has these literals after each other, or the tour these words.
    pub(crate) fn has_headings(&self, headings: &[&str]) -> bool {
        self.tour.contains(&headings.join(" "))
            || self.literals.iter().any(|literals| literals.windows(headings.len()).any(|row| row == headings))
    }

    fn cost(&self, quote: &[Token], at: usize, before: Before, known: &mut HashMap<(usize, Before), u32>) -> u32 {
        let Some(token) = quote.get(at) else { return 0 };
        if let Some(cost) = known.get(&(at, before)) {
            return *cost;
        }
        let mut least = match token {
            Token::Elision => self.cost(quote, at + 1, Before::Nothing, known),
            Token::Value | Token::Either(_) => self.cost(quote, at + 1, Before::Value, known),
            Token::Word(_) => IMPOSSIBLE,
        };
        let places = token.word().and_then(|word| self.places.get(word)).map(Vec::as_slice).unwrap_or_default();
        for (fragment, position) in places {
            if before != Before::Nothing && *position != 0 {
                continue;
            }
            for (length, is_whole_from_here) in matches(&self.fragments[*fragment][*position..], &quote[at..]) {
                let next = quote.get(at + length);
                let is_single = length == 1;
                let is_cut = !is_whole_from_here && !matches!(next, None | Some(Token::Elision));
                if is_cut || is_single && self.fragments[*fragment].len() > 1 && quote.len() > 1 {
                    continue;
                }
                let joints = [before == Before::Fragment, matches!(next, Some(Token::Word(_)))].map(u32::from);
                let cost = joints[0] + if is_single { joints[0] + joints[1] } else { 0 };
                least = least.min(cost + self.cost(quote, at + length, Before::Fragment, known));
            }
        }
        known.insert((at, before), least);
        least
    }
}

/// How many words a quote may share with the beginning of a fragment, and whether these are all of the fragment's.
fn matches(fragment: &[String], quote: &[Token]) -> impl Iterator<Item = (usize, bool)> {
    let common = fragment.iter().zip(quote).take_while(|(word, token)| token.word() == Some(word)).count();
    (1..=common).map(|length| (length, length == fragment.len()))
}

/// The words of a text without the punctuation around them.
fn words(text: &str) -> Vec<String> {
    let trimmed = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    trimmed.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The fragments of a literal's line: what is between its placeholders. Braces that are doubled are meant as such.
fn fragments(line: &str) -> Vec<Fragment> {
    let line = line.replace("{{", "(").replace("}}", ")");
    let mut found = Vec::new();
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        found.push(words(before));
        rest = after.split_once('}').map_or(after, |(_, after)| after);
    }
    found.push(words(rest));
    found
}

/// The words of a quote, by what may explain them. What is in brackets or quotes, has a capital letter, or is no plain
/// word, may be a value.
fn tokens(quote: &str) -> Vec<Token> {
    let mut text = String::new();
    let mut rest = quote;
    while let Some((before, after)) = rest.split_once('<') {
        let (_, after) = after.split_once('>').unwrap_or(("", after));
        text += &format!("{before} <> ");
        rest = after;
    }
    let text = (text + rest).replace("...", "…").replace('…', " … ");
    let mut tokens = Vec::new();
    for part in text.split_whitespace() {
        // A line of the log: key="value".
        let part = match part.split_once('=') {
            Some((_, value)) => {
                tokens.push(Token::Elision);
                value
            }
            None => part,
        };
        let may_be_value = |c: char| c.is_ascii_digit() || c.is_uppercase() || "/\"-():".contains(c);
        match words(part).pop() {
            Some(word) if part.trim_end_matches([':', ';']).contains(may_be_value) => tokens.push(Token::Either(word)),
            Some(word) => tokens.push(Token::Word(word)),
            None if part.contains('…') => tokens.push(Token::Elision),
            None if part.contains("<>") => tokens.push(Token::Value),
            None => {}
        }
    }
    tokens
}

/// The text literals of a source, in their order.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let hashes = rest.chars().skip(1).take_while(|c| *c == '#').count();
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            'r' if rest[1 + hashes..].starts_with('"') => {
                let (from, end) = (2 + hashes, format!("\"{}", "#".repeat(hashes)));
                let text = rest[from..].split(&end).next().unwrap_or_default();
                found.push(text.to_owned());
                from + text.len() + end.len()
            }
            '"' => {
                let (text, length) = unescaped(&rest[1..]);
                found.push(text);
                1 + length
            }
            '\'' if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") => rest[1..].find('\'').unwrap_or(0) + 2,
            c if c.is_alphanumeric() || c == '_' => {
                let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                // The prefix of a raw literal is a word of its own.
                if &rest[..word] == "br" { 1 } else { word }
            }
            c => c.len_utf8(),
        };
        rest = &rest[length.min(rest.len())..];
    }
    found
}

/// The text of a literal, without its escapes, and its length in the source with the closing quote.
fn unescaped(literal: &str) -> (String, usize) {
    let mut text = String::new();
    let (mut start, mut chars) = (0, literal.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, start + at + 1),
            '\\' => match chars.next() {
                Some((_, '\n')) => {
                    // The literal goes on where the next line has its first word.
                    let next = chars.as_str().trim_start();
                    let at = literal.len() - next.len();
                    chars = literal[at..].char_indices();
                    start = at;
                }
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped)) => text.push(escaped),
                None => {}
            },
            c => text.push(c),
        }
    }
    (text, literal.len())
}

#[test]
fn a_quote_is_explained_by_whole_fragments_and_values_alone() {
    let source = r#"
        "{ip} is held by {holder}, since {at}"; "pod {}, interface {}, node {}"; "it is gone; free it";
        // "in a comment"
        "a long text \
         goes on"; r"raw {why} text"; '"'; "closed"
    "#;
    let texts = Texts::new(vec![literals(source)], String::new());
    for quote in [
        "10.1.0.1 is held by pod db/db-0, interface net1, node n1, since 2026-11-23T04:42:29Z",
        "<ip> is held by …, since <time>",
        "is gone; free",
        "a long text goes on",
        "raw <why> text",
    ] {
        assert!(texts.explain(quote), "{quote}");
    }
    for quote in [
        "10.1.0.1 was held by pod db/db-0, interface net1, node n1, since 2026-11-23T04:42:29Z",
        "10.1.0.1 is by pod db/db-0, interface net1",
        "<ip> held by <holder>",
        "is gone; free an address",
        "in a comment",
    ] {
        assert!(!texts.explain(quote), "{quote}");
    }
}
