//! Reads a kubeconfig file (kubernetes.io, "Organizing Cluster Access Using kubeconfig Files"), or a pod's service
//! account, which needs no such file ("Accessing the Kubernetes API from a Pod").
//!
//! kube's own loader is not used. It reads HTTPS_PROXY, and a CNI call inherits its runtime's environment, which other
//! plugins may have changed. This file reads only the kubeconfig and the files that it names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;

use crate::cause::Cause;

/// The size limit of a kubeconfig and of each file that it names, in bytes.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// What is wrong with a kubeconfig.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "its text says what a variant is and what its fields hold")]
pub enum KubeconfigProblem {
    #[error("there is no such file")]
    Missing,
    #[error("it can't be read")]
    Unreadable(#[source] io::Error),
    /// It is binary, or not YAML.
    #[error("it is not valid YAML (line {line})")]
    NotYaml {
        /// Where the parser stopped. The text there may be a secret, so it is not quoted.
        line: u64,
    },
    #[error("it has no current-context")]
    NoCurrentContext,
    /// It refers to an entry that it does not have.
    #[error("its {key} {name:?} is not among its {list}")]
    Dangling { key: &'static str, name: String, list: &'static str },
    /// The cluster has no URL, or one of another kind.
    #[error("its server {0:?} is not the URL of an API server; it must look like \"https://192.0.2.10:6443\"")]
    NotAUrl(String),
    /// The URL contains credentials, which would end up in logs.
    #[error("its server has a user or password in its URL; move them to the file's users")]
    SecretInUrl,
    /// The cluster requires a proxy. kube-ipam supports none.
    #[error("its cluster has a proxy-url; kube-ipam asks the API server directly")]
    Proxy,
    /// The server can't be authenticated.
    #[error("its cluster has no certificate-authority, without which {0} can't be trusted")]
    NoAuthority(String),
    /// The credentials come from a plugin or a provider's helper.
    #[error("its user has {0}; kube-ipam runs no other program for its credentials")]
    Plugin(&'static str),
    #[error("its {key} {} can't be read", .path.display())]
    File {
        key: &'static str,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// A value is not base64, or a certificate or key is not PEM.
    #[error("its {key} holds no {what}")]
    NotData { key: &'static str, what: &'static str },
    #[error("its user has a client certificate without the key, or the key without the certificate")]
    HalfPair,
    #[error("its credentials can't be used")]
    Credentials(#[source] Cause),
}

impl KubeconfigProblem {
    /// What to do about it.
    pub fn details(&self) -> String {
        match self {
            Self::Missing => "the pod's annotations are read with it; \"kubeConfig\" in the ipam block or in the node \
                              defaults names another one, and \"annotations\": false makes the network read none"
                .to_owned(),
            Self::Plugin(_) => "give the user a token, tokenFile, or client certificate".to_owned(),
            Self::NoAuthority(_) => "name the authority's file; for a public one, the system's list, such as \
                                     /etc/ssl/certs/ca-certificates.crt"
                .to_owned(),
            _ => "correct the file, or write a new one".to_owned(),
        }
    }
}

/// Reads the API server and the credentials of the file's current context.
pub(super) fn read(path: &Path) -> Result<Config, KubeconfigProblem> {
    let content = read_file(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => KubeconfigProblem::Missing,
        _ => KubeconfigProblem::Unreadable(e),
    })?;
    let text = String::from_utf8(content).map_err(|e| {
        let before = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
        KubeconfigProblem::NotYaml { line: 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64 }
    })?;
    // kube's error quotes the invalid text, with the secrets in it.
    let kubeconfig = Kubeconfig::from_yaml(&text).map_err(|e| match e {
        KubeconfigError::Parse(e) => KubeconfigProblem::NotYaml { line: e.location().map_or(1, |at| at.line()) },
        _ => KubeconfigProblem::NotYaml { line: 1 },
    })?;
    let (cluster, user) = current(kubeconfig)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let server = cluster.server.clone().unwrap_or_default();
    if server.contains('@') {
        return Err(KubeconfigProblem::SecretInUrl);
    }
    let url = server.parse().map_err(|_| KubeconfigProblem::NotAUrl(server.clone()))?;
    let mut config = Config::new(url);
    let https = match config.cluster_url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(KubeconfigProblem::NotAUrl(server)),
    };
    if cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
        return Err(KubeconfigProblem::Proxy);
    }
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    let authority = authority(folder, &cluster)?;
    if https && authority.is_empty() && !config.accept_invalid_certs {
        return Err(KubeconfigProblem::NoAuthority(server));
    }
    config.root_cert = Some(authority);
    config.tls_server_name = cluster.tls_server_name;
    config.auth_info = credentials(folder, user)?;
    Ok(config)
}

/// The cluster and the user of the current context.
fn current(kubeconfig: Kubeconfig) -> Result<(Cluster, AuthInfo), KubeconfigProblem> {
    let name = kubeconfig.current_context.filter(|name| !name.is_empty());
    let name = name.ok_or(KubeconfigProblem::NoCurrentContext)?;
    let context = kubeconfig.contexts.into_iter().find(|context| context.name == name).and_then(|named| named.context);
    let context = context.ok_or(KubeconfigProblem::Dangling { key: "current-context", name, list: "contexts" })?;
    let name = context.cluster;
    let cluster = kubeconfig.clusters.into_iter().find(|cluster| cluster.name == name).and_then(|named| named.cluster);
    let cluster = cluster.ok_or(KubeconfigProblem::Dangling { key: "cluster", name, list: "clusters" })?;
    let Some(name) = context.user.filter(|name| !name.is_empty()) else { return Ok((cluster, AuthInfo::default())) };
    let user = kubeconfig.auth_infos.into_iter().find(|user| user.name == name).and_then(|named| named.auth_info);
    Ok((cluster, user.ok_or(KubeconfigProblem::Dangling { key: "user", name, list: "users" })?))
}

/// The certificates that authenticate the server. As in kubectl, data in the kubeconfig takes precedence over a file.
fn authority(folder: &Path, cluster: &Cluster) -> Result<Vec<Vec<u8>>, KubeconfigProblem> {
    let (key, pem) = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(data), _) if !data.is_empty() => {
            let key = "certificate-authority-data";
            (key, STANDARD.decode(data).map_err(|_| KubeconfigProblem::NotData { key, what: "base64" })?)
        }
        (_, Some(file)) if !file.is_empty() => {
            let key = "certificate-authority";
            (key, read_named(key, folder.join(file))?)
        }
        _ => return Ok(Vec::new()),
    };
    certificates(key, &pem)
}

pub(super) fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<Vec<u8>>, KubeconfigProblem> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).map(|der| der.map(|der| der.to_vec())).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(KubeconfigProblem::NotData { key, what: "certificate in PEM form" }),
    }
}

/// The API server at this URL, with the token and the CA certificate of a pod's service account.
pub(super) fn from_service_account(folder: &Path, server: &str) -> Result<Config, KubeconfigProblem> {
    let mut config = Config::new(server.parse().map_err(|_| KubeconfigProblem::NotAUrl(server.to_owned()))?);
    let (authority, secret) = ("ca.crt", "token");
    config.root_cert = Some(certificates(authority, &read_named(authority, folder.join(authority))?)?);
    config.auth_info.token = Some(token(secret, &read_named(secret, folder.join(secret))?)?.into());
    Ok(config)
}

/// A user's credentials, with the token read from its file and every path absolute.
fn credentials(folder: &Path, mut user: AuthInfo) -> Result<AuthInfo, KubeconfigProblem> {
    if user.exec.is_some() {
        return Err(KubeconfigProblem::Plugin("an exec plugin"));
    }
    if user.auth_provider.is_some() {
        return Err(KubeconfigProblem::Plugin("an auth-provider"));
    }
    // As in kubectl, an empty text counts as absent.
    for file in [&mut user.client_certificate, &mut user.client_key] {
        let named = file.take().filter(|file| !file.is_empty());
        *file = named.map(|file| folder.join(file).to_string_lossy().into_owned());
    }
    user.client_certificate_data = user.client_certificate_data.filter(|data| !data.is_empty());
    user.client_key_data = user.client_key_data.filter(|data| !data.expose_secret().is_empty());
    // The file is refreshed, an inline token is not.
    if let Some(file) = user.token_file.take().filter(|file| !file.is_empty()) {
        let key = "tokenFile";
        user.token = Some(token(key, &read_named(key, folder.join(file))?)?.into());
    } else if let Some(text) = user.token.take() {
        user.token = Some(token("token", text.expose_secret().as_bytes())?.into());
    }
    Ok(user)
}

/// A token without its trailing newline. One with other characters is not a valid header value.
fn token(key: &'static str, text: &[u8]) -> Result<String, KubeconfigProblem> {
    let text = text.trim_ascii();
    let fits = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(text).ok().filter(|_| fits);
    text.map(str::to_owned).ok_or(KubeconfigProblem::NotData { key, what: "token" })
}

pub(super) fn read_named(key: &'static str, path: PathBuf) -> Result<Vec<u8>, KubeconfigProblem> {
    read_file(&path).map_err(|error| KubeconfigProblem::File { key, path, error })
}

/// Reads a regular file of limited size.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a named pipe would block until somebody writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(MAX_FILE_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(content)
}
