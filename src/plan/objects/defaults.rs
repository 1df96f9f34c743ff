//! The node defaults, from a file that an option names or from the ConfigMap that the installer reads.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::Document;
use crate::cause::chain;
use crate::config;
use crate::manifest::{self, Node, Value, embedded};
use crate::plan::finding::Finding;
use crate::plan::source::{Place, Source};
use crate::plan::{code, key_path};

/// Node defaults with their position.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// The path that precedes the key in the text of a mistake.
    file: PathBuf,
    object: Map<String, Json>,
    node: Node,
    /// The index of the source.
    source: usize,
}

impl Defaults {
    /// Reads the defaults of a file.
    pub(crate) fn of_file(sources: &[Source], source: usize, findings: &mut Vec<Finding>) -> Option<Self> {
        let Source { name, text } = sources.get(source)?;
        let (documents, errors) = manifest::documents(text);
        let error = errors.into_iter().next().map(|error| (error.span, error.message));
        let found = documents.into_iter().next();
        Self::new(name, found.filter(|_| error.is_none()), error, source, findings)
    }

    /// Reads the defaults in a ConfigMap. `node` is the value of its key.
    pub(super) fn of_config_map(
        document: Document<'_>,
        node: &Node,
        sources: &[Source],
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        let Source { name, text } = sources.get(document.source)?;
        let Value::Scalar(scalar) = &node.value else { return None };
        let (found, error) = match embedded(text, &node.span, scalar) {
            Ok(node) => (Some(node), None),
            Err(error) => (None, Some((error.span, error.message))),
        };
        Self::new(name, found, error, document.source, findings)
    }

    fn new(
        file: &str,
        node: Option<Node>,
        error: Option<(manifest::Span, String)>,
        source: usize,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        if let Some((span, message)) = error {
            let place = Place::new(source, &span);
            findings
                .push(Finding::error(code::CONFIG_NOT_JSON, place, "the node defaults are not JSON").labelled(message));
        }
        let node = node?;
        let Json::Object(object) = node.to_json() else {
            let place = Place::new(source, &node.span);
            findings.push(Finding::error(code::CONFIG_NOT_JSON, place, "the node defaults are no JSON object"));
            return None;
        };
        let defaults = Self { file: file.into(), object, node, source };
        defaults.check(findings);
        Some(defaults)
    }

    /// The file and its content, as `config` expects them.
    pub(crate) fn as_pair(&self) -> (&Path, &Map<String, Json>) {
        (&self.file, &self.object)
    }

    /// The key inside the defaults, if the key of a mistake names their file.
    pub(crate) fn own_key<'k>(&self, key: &'k str) -> Option<&'k str> {
        let rest = key.strip_prefix(&*self.file.to_string_lossy())?;
        Some(rest.strip_prefix(':').unwrap_or(rest).trim_start())
    }

    /// Reports mistakes that would fail every ADD, whatever its block has; without a mistake, the warnings.
    fn check(&self, findings: &mut Vec<Finding>) {
        let mistakes = match config::check_defaults(&self.file, &self.object) {
            Ok(warnings) => {
                let own = warnings.iter().filter_map(|warning| Some((warning, self.own_key(warning.key())?)));
                for (warning, key) in own {
                    let place = Place::new(self.source, &key_path::find(&self.node, key).key);
                    let text = chain(warning).to_string();
                    let message = text.split_once(key).map_or(text.clone(), |(_, rest)| format!("{key}{rest}"));
                    findings.push(Finding::warning(code::of_warning(warning), place, message));
                }
                return;
            }
            Err(mistakes) => mistakes,
        };
        for mistake in &mistakes.0 {
            let key = self.own_key(&mistake.key).unwrap_or(&mistake.key);
            let place = Place::new(self.source, &key_path::find(&self.node, key).mark());
            let message = format!("{key}: {}", chain(&mistake.problem));
            findings.push(Finding::error(code::of_problem(&mistake.problem), place, message));
        }
    }
}
