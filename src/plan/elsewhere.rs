//! Objects that manifests name and no file contains. A plan for a cluster in use looks them up there.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::Reference;
use super::cluster::{Cluster, LookupError, NamedKind, NamedObject};
use super::finding::Finding;
use super::interfaces::selections;
use super::objects::{Definition, Objects, PlannedClaim};
use super::source::Source;

/// The label of a mistake in an object of the cluster.
const APPLIED: &str = "applied in the cluster already";

/// What neither the files nor the cluster have.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    missing: BTreeMap<NamedObject, LookupError>,
}

impl Elsewhere {
    /// Adds the definitions that pods select and no file contains.
    pub(super) fn add_definitions<C: Cluster>(
        &mut self,
        objects: &mut Objects,
        sources: &mut Vec<Source>,
        findings: &mut Vec<Finding>,
        cluster: &mut C,
    ) -> Result<(), C::Error> {
        let known: BTreeSet<NamedObject> = objects.definitions.iter().filter_map(named).collect();
        let selected: BTreeSet<NamedObject> = objects.workloads.iter().flat_map(selections).collect();
        for object in selected.difference(&known) {
            if let Some(source) = self.look_up(object, cluster)? {
                sources.push(source);
                objects.add_source(sources, sources.len() - 1, "", findings);
            }
        }
        Ok(())
    }

    /// Adds the claims that pods name and no file contains.
    pub(super) fn add_claims<C: Cluster>(
        &mut self,
        references: &[Option<Reference>],
        claims: &mut Vec<PlannedClaim>,
        sources: &mut Vec<Source>,
        findings: &mut Vec<Finding>,
        cluster: &mut C,
    ) -> Result<(), C::Error> {
        let known: BTreeSet<NamedObject> = claims.iter().map(PlannedClaim::object).collect();
        let named: BTreeSet<NamedObject> = references.iter().flatten().map(|of| of.claim.clone()).collect();
        for object in named.difference(&known) {
            if let Some(source) = self.look_up(object, cluster)? {
                sources.push(source);
                let mut found = Objects::default();
                found.add_source(sources, sources.len() - 1, "", findings);
                claims.extend(found.claims);
            }
        }
        Ok(())
    }

    fn look_up<C: Cluster>(&mut self, object: &NamedObject, cluster: &mut C) -> Result<Option<Source>, C::Error> {
        match cluster.look_up(object)? {
            Ok(source) => Ok(Some(source)),
            Err(error) => {
                self.missing.insert(object.clone(), error);
                Ok(None)
            }
        }
    }

    /// Why an object is in no source. `None` if it is in one, but can't be used, which was reported.
    pub(super) fn error(&self, object: &NamedObject) -> Option<&LookupError> {
        self.missing.get(object)
    }
}

/// The definition as an object. A file of a node's folder is none.
fn named(definition: &Definition) -> Option<NamedObject> {
    let (namespace, name) = (definition.namespace.clone()?, definition.name.clone());
    Some(NamedObject { kind: NamedKind::NetworkDefinition, namespace, name })
}

/// Labels the findings in objects of the cluster. `files` is the number of the other sources.
pub(super) fn label(findings: &mut [Finding], files: usize) {
    for mark in findings.iter_mut().map(|finding| &mut finding.primary).filter(|mark| mark.place.source >= files) {
        mark.label = match mark.label.as_str() {
            "" => APPLIED.to_owned(),
            label => format!("{label} ({APPLIED})"),
        };
    }
}
