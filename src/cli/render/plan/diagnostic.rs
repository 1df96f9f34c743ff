//! A finding in the style of rustc: the message, the lines with their marks, and the remedy.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::ERRORS_PAGE;
use crate::cli::output::{printable, printable_source};
use crate::plan::{Finding, Mark, Severity, Source};

/// The most lines between two marks that are shown as one part of a file. The renderer reads all lines between them, so
/// without a limit, the findings of a large file would take too long.
const MAX_LINES_BETWEEN: usize = 2000;

/// The finding as text.
pub(super) fn diagnostic(renderer: &Renderer, finding: &Finding, sources: &[Source]) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let message = printable(&finding.message);
    let title = level.primary_title(message).id(finding.code.to_string()).id_url(ERRORS_PAGE);
    let mut group = Group::with_title(title);
    let excerpts = excerpts(finding, sources);
    for excerpt in &excerpts {
        group = group.element(excerpt.snippet());
    }
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    renderer.render(&[group])
}

/// The marks that are shown in one part of a file, that of the finding first.
struct Excerpt<'a> {
    source: &'a Source,
    marks: Vec<(AnnotationKind, &'a Mark)>,
    /// The lines with the marks, as a part of the source.
    lines: std::ops::Range<usize>,
}

impl Excerpt<'_> {
    fn snippet(&self) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        let Self { source, marks, lines } = self;
        let line = 1 + source.text.get(..lines.start).unwrap_or_default().matches('\n').count();
        let annotations = marks.iter().map(|(kind, mark)| {
            let span = mark.place.start - lines.start..mark.place.end - lines.start;
            let annotation = kind.span(span);
            if mark.label.is_empty() { annotation } else { annotation.label(printable(&mark.label)) }
        });
        Snippet::source(printable_source(source.text.get(lines.clone()).unwrap_or_default()))
            .line_start(line)
            .path(printable(&source.name))
            .annotations(annotations)
    }
}

fn excerpts<'a>(finding: &'a Finding, sources: &'a [Source]) -> Vec<Excerpt<'a>> {
    let marks = std::iter::once((AnnotationKind::Primary, &finding.primary));
    let marks = marks.chain(finding.related.iter().map(|mark| (AnnotationKind::Context, mark)));
    let mut excerpts: Vec<Excerpt<'a>> = Vec::new();
    for (kind, mark) in marks {
        let Some(source) = sources.get(mark.place.source) else { continue };
        let lines = lines_of(&source.text, mark);
        let near = excerpts.iter_mut().find(|excerpt| {
            let between = excerpt.lines.end.min(lines.end)..excerpt.lines.start.max(lines.start);
            std::ptr::eq(excerpt.source, source)
                && source.text.get(between).unwrap_or_default().lines().count() <= MAX_LINES_BETWEEN
        });
        match near {
            Some(excerpt) => {
                excerpt.lines = excerpt.lines.start.min(lines.start)..excerpt.lines.end.max(lines.end);
                excerpt.marks.push((kind, mark));
            }
            None => excerpts.push(Excerpt { source, marks: vec![(kind, mark)], lines }),
        }
    }
    excerpts
}

/// The lines of a mark, whole.
fn lines_of(text: &str, mark: &Mark) -> std::ops::Range<usize> {
    let start = text.get(..mark.place.start).unwrap_or(text).rfind('\n').map_or(0, |at| at + 1);
    let end = text.get(mark.place.end..).unwrap_or_default().find('\n').map_or(text.len(), |at| mark.place.end + at);
    start..end
}
