//! Findings as SARIF 2.1.0 (OASIS), which code hosts show at the lines of a pull request.

use std::path::{Component, Path};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::ERRORS_PAGE;
use crate::ops::operator::plan::Planned;
use crate::plan::{Code, Finding, Mark, Severity, Source};

/// The characters that a path can't have in a URI (RFC 3986, section 3.3), and the slash, which separates its parts.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The log of a run.
pub(super) fn log(planned: &Planned) -> Value {
    let results: Vec<Value> = planned.report.findings.iter().map(|finding| result(finding, &planned.sources)).collect();
    let rules: Vec<Value> = Code::all().map(rule).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    json!({ "id": code.to_string(), "shortDescription": { "text": code.title() }, "helpUri": ERRORS_PAGE })
}

fn result(finding: &Finding, sources: &[Source]) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}; {help}", finding.message),
        None => finding.message.clone(),
    };
    let related = finding.related.iter().enumerate().map(|(i, mark)| {
        let mut location = location(mark, sources);
        location["id"] = json!(i + 1);
        location["message"] = json!({ "text": mark.label });
        location
    });
    json!({
        "ruleId": finding.code.to_string(),
        "level": match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": { "text": text },
        "locations": [location(&finding.primary, sources)],
        "relatedLocations": related.collect::<Vec<_>>(),
    })
}

fn location(mark: &Mark, sources: &[Source]) -> Value {
    let ((start_line, start_column), (end_line, end_column)) = mark.place.region(sources);
    let name = sources.get(mark.place.source).map_or("", |source| &source.name);
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(name) },
        "region": {
            "startLine": start_line, "startColumn": start_column, "endLine": end_line, "endColumn": end_column,
        },
    }})
}

/// A path as a URI: relative to where the command runs, unless it is absolute.
fn uri(path: &str) -> String {
    let path = Path::new(path);
    let parts = path.components().filter_map(|part| match part {
        Component::RootDir => Some(String::new()),
        Component::CurDir | Component::Prefix(_) => None,
        Component::ParentDir => Some("..".to_owned()),
        Component::Normal(part) => Some(utf8_percent_encode(&part.to_string_lossy(), ESCAPED).to_string()),
    });
    let parts = parts.collect::<Vec<_>>().join("/");
    if path.is_absolute() { format!("file://{parts}") } else { parts }
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn a_path_is_a_uri_whatever_its_characters() {
        for (path, expected) in [
            ("manifests/web.yaml", "manifests/web.yaml"),
            ("./a b/c#d.yaml", "a%20b/c%23d.yaml"),
            ("../net.yaml", "../net.yaml"),
            ("/etc/cni/net.d/10-x.conf", "file:///etc/cni/net.d/10-x.conf"),
            ("<stdin>", "%3Cstdin%3E"),
        ] {
            assert_eq!(uri(path), expected);
        }
    }
}
