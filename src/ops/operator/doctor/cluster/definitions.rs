//! The NetworkAttachmentDefinitions of the cluster, and what an ADD would say to each.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::forbidden::unread;
use crate::cause::chain;
use crate::cluster::NetworkDefinition;
use crate::config::{check_defaults, read_defaults};
use crate::ipam::name::Name;
use crate::ops::operator::doctor::subject::Subject;
use crate::ops::operator::doctor::{Context, Outcome};
use crate::ops::operator::plan::manifest;
use crate::plan::{Finding, Options, Report, Source, plan};

/// The definitions, or why they are not known.
pub(in crate::ops::operator::doctor) enum Definitions {
    /// No API server is configured.
    NoCluster,
    /// The cluster does not have this kind: it has no Multus.
    NoSuchKind,
    /// They could not be read.
    Unread(Box<Outcome>),
    /// All of them, judged.
    Judged(JudgedDefinitions),
}

/// Definitions with the findings of a plan.
pub(in crate::ops::operator::doctor) struct JudgedDefinitions {
    definitions: Vec<NetworkDefinition>,
    /// The file with the node defaults, if there is one.
    defaults: Option<Source>,
    report: Report,
    /// The warnings about the node defaults, which every network has.
    of_defaults: Vec<String>,
}

impl JudgedDefinitions {
    fn new(definitions: Vec<NetworkDefinition>, defaults: Option<(&Path, Map<String, Value>)>) -> Self {
        let warnings = defaults.as_ref().and_then(|(file, object)| check_defaults(file, object).ok());
        let of_defaults = warnings.iter().flatten().map(|warning| chain(warning).to_string()).collect();
        let defaults = defaults
            .map(|(file, object)| Source { name: file.display().to_string(), text: Value::Object(object).to_string() });
        let (mut sources, options) = sources(&definitions, defaults.as_ref());
        let report = plan(&mut sources, &options);
        Self { definitions, defaults, report, of_defaults }
    }

    /// The definitions and the node defaults, as sources of a plan.
    pub(super) fn sources(&self) -> (Vec<Source>, Options) {
        sources(&self.definitions, self.defaults.as_ref())
    }

    /// The findings, each with the namespace and name of its definition. Those in the node defaults have a check of
    /// their own.
    pub(super) fn findings(&self) -> impl Iterator<Item = (&str, &str, &Finding)> {
        let own = self.report.findings.iter().filter(|finding| !self.of_defaults.contains(&finding.message));
        own.filter_map(|finding| {
            let NetworkDefinition { namespace, name, .. } = self.definitions.get(finding.primary.place.source)?;
            Some((namespace.as_str(), name.as_str(), finding))
        })
    }

    /// How many definitions have addresses of kube-ipam, according to those that could be read.
    pub(super) fn count(&self) -> usize {
        self.vrfs().len()
    }

    /// The vrf of each network whose addresses kube-ipam assigns, by its full name, as in a pod's network status.
    pub(super) fn vrfs(&self) -> BTreeMap<&str, Name> {
        let networks = self.report.networks.iter();
        networks.filter_map(|network| Some((network.network.as_str(), Name::new(network.vrf.as_str()).ok()?))).collect()
    }
}

/// The node defaults alone, as the source of a plan.
pub(super) fn with_defaults(file: &Path) -> (Vec<Source>, Options) {
    let defaults = read_defaults(file).ok().flatten();
    sources(&[], defaults.map(|object| defaults_source(file, object)).as_ref())
}

fn defaults_source(file: &Path, object: Map<String, Value>) -> Source {
    Source { name: file.display().to_string(), text: Value::Object(object).to_string() }
}

fn sources(definitions: &[NetworkDefinition], defaults: Option<&Source>) -> (Vec<Source>, Options) {
    let sources: Vec<Source> = definitions.iter().map(source).chain(defaults.cloned()).collect();
    let defaults = defaults.map(|_| definitions.len());
    (sources, Options { namespace: "default".to_owned(), defaults })
}

/// A definition as a manifest, which a plan reads.
fn source(definition: &NetworkDefinition) -> Source {
    let NetworkDefinition { namespace, name, .. } = definition;
    Source { name: format!("{namespace}/{name}"), text: manifest::of_definition(definition) }
}

/// The definitions of the cluster, read by the first check that needs them.
pub(super) fn read(context: &mut Context<'_>) -> Rc<Definitions> {
    if let Some(definitions) = &context.cached.definitions {
        return Rc::clone(definitions);
    }
    let definitions = Rc::new(list(context));
    Rc::clone(context.cached.definitions.insert(definitions))
}

fn list(context: &mut Context<'_>) -> Definitions {
    let subject = Subject::whole("networks");
    let file = &context.options.defaults;
    // A mistake in the defaults is found by their own check.
    let defaults = read_defaults(file).ok().flatten();
    let mut found = Vec::new();
    let listed = match context.api() {
        Ok(None) => return Definitions::NoCluster,
        Ok(Some(api)) => api.network_definitions(|definition| found.push(definition)),
        Err(error) => return Definitions::Unread(Box::new(subject.skipped(chain(&error).to_string()))),
    };
    match listed {
        Ok(true) => {
            Definitions::Judged(JudgedDefinitions::new(found, defaults.map(|defaults| (file.as_path(), defaults))))
        }
        Ok(false) => Definitions::NoSuchKind,
        Err(error) => Definitions::Unread(Box::new(unread(&subject, &error, &context.options.commands))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(name: &str, ipam: &Value) -> NetworkDefinition {
        let config = json!({ "cniVersion": "1.0.0", "name": name, "type": "macvlan", "ipam": ipam });
        NetworkDefinition { namespace: "db".to_owned(), name: name.to_owned(), config: Some(config.to_string()) }
    }

    #[test]
    fn definitions_are_judged_as_manifests_with_the_node_defaults() {
        let good = definition("good", &json!({ "type": "kube-ipam", "subnet": "10.1.0.0/24" }));
        let bad = definition("bad", &json!({ "type": "kube-ipam", "subnet": "10.2.0.0/33" }));
        let other = definition("other", &json!({ "type": "host-local", "subnet": "10.3.0.0/24" }));
        let none = NetworkDefinition { config: None, ..definition("none", &json!({})) };
        let Value::Object(defaults) = json!({ "etcdConfig": { "etcdURL": "http://192.0.2.1:2379" }, "vrf": "blue" })
        else {
            return;
        };
        let defaults = Some((Path::new("/d/kube-ipam.json"), defaults));
        let judged = JudgedDefinitions::new(vec![good, bad, other, none], defaults);
        let found: Vec<(&str, &str)> = judged.findings().map(|(namespace, name, _)| (namespace, name)).collect();
        assert_eq!(found, [("db", "bad")]);
        let vrfs: Vec<(&str, String)> = judged.vrfs().into_iter().map(|(name, vrf)| (name, vrf.to_string())).collect();
        assert_eq!(vrfs, [("db/good", "blue".to_owned())]);
        assert_eq!(judged.count(), 1);
    }
}
