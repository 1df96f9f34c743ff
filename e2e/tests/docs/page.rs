//! The pages and manifests that users read, and the code that they show.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use kube_ipam_e2e::checkout::{files, root};

/// A file that users read.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Where a piece of code is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In a sentence or a table.
    Inline,
    /// In a fenced block of this language.
    Block(&'a str),
}

/// A piece of code on a page: what stands between two backticks, or a line of a block.
pub(crate) struct Snippet<'a> {
    pub(crate) page: &'a Page,
    pub(crate) line: usize,
    pub(crate) place: Place<'a>,
    pub(crate) text: String,
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.page.path.strip_prefix(root()).unwrap_or(&self.page.path);
        write!(f, "{}:{}: {}", path.display(), self.line, self.text)
    }
}

/// All pages, each with its path.
pub(crate) fn pages() -> Vec<Page> {
    let top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|page| root().join(page));
    let folders = ["docs", "examples", "charts"].map(|folder| files(folder, ".md")).concat();
    read(folders.into_iter().chain(top))
}

/// The pages, and the manifests with their comments and alerts.
pub(crate) fn all_pages() -> Vec<Page> {
    let manifests = ["examples", "network-attachments"].map(|folder| files(folder, ".yaml")).concat();
    pages().into_iter().chain(read(manifests.into_iter())).collect()
}

/// All of that without what is for developers, who write of texts that are no more, or are not yet.
pub(crate) fn operator_pages() -> Vec<Page> {
    let for_developers = ["design.md", "invariants.md", "performance.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let is_for_developers = |page: &Page| for_developers.iter().any(|name| page.path.ends_with(name));
    all_pages().into_iter().filter(|page| !is_for_developers(page)).collect()
}

fn read(paths: impl Iterator<Item = PathBuf>) -> Vec<Page> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    paths.map(|path| Page { text: read(&path), path }).collect()
}

impl Page {
    /// All code that it shows, inline code first.
    pub(crate) fn snippets(&self) -> Vec<Snippet<'_>> {
        let mut prose = String::new();
        let mut in_blocks = Vec::new();
        let mut language = None;
        for (i, line) in self.text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (fence, language) {
                (Some(opened), None) => language = Some(opened.trim()),
                (Some(_), Some(_)) => language = None,
                (None, Some(language)) => {
                    in_blocks.push(self.snippet(i + 1, Place::Block(language), line.to_owned()));
                }
                // A comment may run on in the next line.
                (None, None) => prose += line.trim_start().trim_start_matches("# "),
            }
            // A block is an empty line of the prose around it, so that lines keep their numbers.
            prose.push('\n');
        }
        let mut snippets = self.inline(&prose);
        snippets.append(&mut in_blocks);
        snippets
    }

    fn inline(&self, prose: &str) -> Vec<Snippet<'_>> {
        let (mut found, mut line) = (Vec::new(), 1);
        for (i, part) in prose.split('`').enumerate() {
            if i % 2 == 1 {
                let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
                found.push(self.snippet(line, Place::Inline, text));
            }
            line += part.matches('\n').count();
        }
        found
    }

    fn snippet<'a>(&'a self, line: usize, place: Place<'a>, text: String) -> Snippet<'a> {
        Snippet { page: self, line, place, text }
    }
}
