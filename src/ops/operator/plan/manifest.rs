//! Objects of the cluster as manifests, in which a plan's findings have positions.

use serde::Serialize;
use serde_json::json;
use serde_saphyr::LitStr;

use crate::cause::chain;
use crate::cluster::{ApiServer, ClusterError, NetworkDefinition};
use crate::ipam::claim::Claim;
use crate::plan::{LookupError, NamedKind, NamedObject, Source};

/// What stands for a folder in the name of an object of the cluster.
const CLUSTER: &str = "<cluster>";

/// An object, with what a plan reads of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, Spec> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ClaimStatus<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

#[derive(Serialize)]
struct DefinitionSpec<'a> {
    /// JSON, on lines of its own as far as YAML can write it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<LitStr<'a>>,
}

#[derive(Serialize)]
struct ClaimSpec<'a> {
    network: &'a str,
    interface: &'a str,
}

#[derive(Serialize)]
struct ClaimStatus<'a> {
    ips: &'a [String],
}

/// Looks an object up in the cluster. Returns it as a manifest.
pub(in crate::ops::operator) fn look_up(
    api: &ApiServer,
    object: &NamedObject,
) -> Result<Result<Source, LookupError>, ClusterError> {
    let NamedObject { kind, namespace, name } = object;
    let found = match kind {
        NamedKind::NetworkDefinition => {
            api.network_definition(namespace, name).map(|definition| of_definition(&definition))
        }
        NamedKind::IpamClaim => api.claim(namespace, name).map(|claim| of_claim(&claim)),
    };
    match found {
        Ok(text) => Ok(Ok(source(object, text))),
        // No object can have a name that is none.
        Err(ClusterError::NotFound { .. } | ClusterError::Name { .. }) => Ok(Err(LookupError::NotFound)),
        Err(error) if matches!(error, ClusterError::Forbidden { .. }) || error.is_unknown_kind() => {
            Ok(Err(LookupError::Unreadable(format!("{}; {}", chain(&error), error.details()))))
        }
        Err(error) => Err(error),
    }
}

/// A definition as a manifest.
pub(in crate::ops::operator) fn of_definition(definition: &NetworkDefinition) -> String {
    let NetworkDefinition { namespace, name, config } = definition;
    text(&Manifest {
        api_version: "k8s.cni.cncf.io/v1",
        kind: "NetworkAttachmentDefinition",
        metadata: Metadata { name, namespace },
        spec: DefinitionSpec { config: config.as_deref().map(LitStr) },
        status: None,
    })
}

/// A claim with its addresses as a manifest.
fn of_claim(claim: &Claim) -> String {
    let Claim { namespace, name, network, interface, status, .. } = claim;
    text(&Manifest {
        api_version: "k8s.cni.cncf.io/v1alpha1",
        kind: "IPAMClaim",
        metadata: Metadata { name: name.as_str(), namespace: namespace.as_str() },
        spec: ClaimSpec { network, interface },
        status: status.ips.as_deref().map(|ips| ClaimStatus { ips }),
    })
}

/// YAML as people write it, or JSON if YAML can't hold its texts.
fn text(manifest: &impl Serialize) -> String {
    serde_saphyr::to_string(manifest).unwrap_or_else(|_| json!(manifest).to_string())
}

/// The source of an object that was found.
fn source(object: &NamedObject, text: String) -> Source {
    Source { name: format!("{CLUSTER}/{object}"), text }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use super::*;
    use crate::manifest::{Node, Value};
    use crate::manifest::{documents, embedded};

    fn manifest(config: &str) -> String {
        let (namespace, name) = ("db".to_owned(), "blue".to_owned());
        of_definition(&NetworkDefinition { namespace, name, config: Some(config.to_owned()) })
    }

    #[test]
    fn the_configuration_is_the_same_text_whatever_is_in_it() {
        for config in [
            r#"{"name": "blue", "type": "macvlan"}"#,
            "{\n  \"name\": \"blue\",\n  \"ipam\": {}\n}",
            "{\n  \"name\": \"blue\"\n}\n",
            "\n  {\"name\": \"blue\"}\n\n",
            "  {\n\"name\": \"blue\"}",
            "{\r\n\t\"name\": \"blue\"\r\n}",
            "{\t\"name\":\n\t\"bl\u{e9}\u{1f600}\"}",
            "{} # no comment\n--- \n...\n- a",
            "\u{0}\u{85}\u{2028}",
            " ",
        ] {
            let text = manifest(config);
            let (documents, errors) = documents(&text);
            assert_eq!(errors, [], "{text}");
            let read = documents[0].at(&["spec", "config"]).and_then(Node::text);
            assert_eq!(read, Some(config), "{text}");
        }
    }

    #[test]
    fn a_mistake_in_a_configuration_has_its_own_line() {
        let text = manifest("{\n  \"name\": \"blue\",\n  \"mtu\": 1500\n}\n");
        let (documents, _) = documents(&text);
        let config = documents[0].at(&["spec", "config"]).unwrap();
        let Value::Scalar(scalar) = &config.value else { unreachable!() };
        let mtu = embedded(&text, &config.span, scalar).unwrap();
        let mtu = mtu.get("mtu").unwrap().span.clone();
        assert_eq!((&text[mtu.clone()], text[..mtu.start].matches('\n').count()), ("1500", 9), "{text}");
    }

    #[test]
    fn a_definition_without_a_configuration_has_none() {
        let (namespace, name) = ("db".to_owned(), "blue".to_owned());
        let text = of_definition(&NetworkDefinition { namespace, name, config: None });
        let (documents, _) = documents(&text);
        assert_eq!(documents[0].at(&["spec", "config"]), None, "{text}");
    }
}
