//! Creates a node's kubeconfig from the service account of the installer's pod.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::error::InstallError;

/// The text of the kubeconfig. It contains the token itself, because the token's folder exists only in the pod. The
/// format is JSON, which is valid YAML and readable for kubectl and every client.
pub(super) fn write(account: &Path, server: &str) -> Result<Vec<u8>, InstallError> {
    let read = |name: &str| {
        let path = account.join(name);
        fs::read_to_string(&path).map_err(InstallError::read(&path))
    };
    let token = read("token")?;
    let token = token.trim();
    if token.is_empty() {
        return Err(InstallError::NoToken(account.join("token")));
    }
    let authority = STANDARD.encode(read("ca.crt")?);
    let mut document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "cluster",
            "cluster": { "server": server, "certificate-authority-data": authority },
        }],
        "users": [{ "name": "kube-ipam", "user": { "token": token } }],
        "contexts": [{ "name": "kube-ipam", "context": { "cluster": "cluster", "user": "kube-ipam" } }],
        "current-context": "kube-ipam",
    })
    .to_string()
    .into_bytes();
    document.push(b'\n');
    Ok(document)
}

/// The API server's URL: the configured one, or else that of the `kubernetes` service, from the pod's environment.
pub fn server(named: Option<&str>, env: &impl Fn(&str) -> Option<String>) -> Result<String, InstallError> {
    if let Some(url) = named {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_url = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', ' ', '?', '#']));
        return if is_url { Ok(url.to_owned()) } else { Err(InstallError::NotAServer(url.to_owned())) };
    }
    let set = |variable| env(variable).filter(|value| !value.is_empty()).ok_or(InstallError::NoServer);
    let (host, port) = (set("KUBERNETES_SERVICE_HOST")?, set("KUBERNETES_SERVICE_PORT")?);
    Ok(match host.parse::<Ipv6Addr>() {
        Ok(ip) => format!("https://[{ip}]:{port}"),
        Err(_) => format!("https://{host}:{port}"),
    })
}
