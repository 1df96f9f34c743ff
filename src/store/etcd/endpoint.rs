//! One member: its URL, and a connection with the configured certificates and password.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use etcd_client::{
    BalancedChannelBuilder, Certificate, Channel, Client, ConnectOptions, Identity, KvClient, TlsOptions,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tonic::transport::Uri;
use tonic::transport::channel::Change;

use super::failure::{self, MemberFailure};
use crate::cause::Cause;
use crate::deadline::Deadline;
use crate::store::{EtcdConfig, StoreError};

/// The size limit of a response, in bytes. The largest is a page of large values.
pub(super) const MAX_RESPONSE: usize = 64 << 20;

/// The HTTP/2 keep-alive interval and timeout of a connection in use.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) struct Endpoint<'a> {
    config: &'a EtcdConfig,
    url: String,
}

impl<'a> Endpoint<'a> {
    /// The members, in the order of the configuration.
    pub(super) fn all(config: &'a EtcdConfig) -> Result<Vec<Self>, StoreError> {
        let urls = config.urls.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
        let endpoints: Vec<_> = urls.map(|url| Self { config, url: full_url(config, url) }).collect();
        if endpoints.is_empty() {
            return Err(StoreError::Denied(Cause::new("etcdURL names no member of etcd")));
        }
        Ok(endpoints)
    }

    /// Its URL, with the scheme.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Connects, and logs in if a user is configured.
    pub(super) async fn connect(&self, deadline: Deadline) -> Result<KvClient, MemberFailure> {
        Ok(self.connect_client(deadline).await?.kv_client().max_decoding_message_size(MAX_RESPONSE))
    }

    /// The same, for all services of etcd.
    pub(super) async fn connect_client(&self, deadline: Deadline) -> Result<Client, MemberFailure> {
        let endpoint = self.transport().map_err(MemberFailure::InvalidConfig)?;
        let options = self.login().map_err(MemberFailure::InvalidConfig)?;
        let connecting = async {
            let channel = endpoint.connect().await.map_err(|e| failure::from_connect_error(&e))?;
            let mut updates = None;
            let connected = Connected { channel, updates: &mut updates };
            // The client would send this name to a load balancer, which this channel does not have.
            let client = Client::connect_with_balanced_channel([PLACEHOLDER], Some(options), connected).await;
            client.map_err(|e| failure::from_login_error(&e, self.config))
        };
        let connected = tokio::time::timeout_at(deadline.instant().into(), connecting).await;
        connected.unwrap_or_else(|_| Err(MemberFailure::ConnectTimeout))
    }

    fn transport(&self) -> Result<tonic::transport::Endpoint, StoreError> {
        let endpoint = tonic::transport::Endpoint::from_shared(self.url.clone())
            .map_err(|e| StoreError::Denied(Cause::new(e).context(format!("etcdURL {:?}", self.url))))?;
        let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE).tcp_nodelay(true);
        if self.url.starts_with(HTTPS) {
            endpoint.tls_config(self.tls()?).map_err(|e| StoreError::Denied(Cause::new(e)))
        } else {
            if has_tls_files(self.config) {
                tracing::warn!(url = self.url, "certificates are configured, and not used with an http URL");
            }
            Ok(endpoint)
        }
    }

    fn tls(&self) -> Result<TlsOptions, StoreError> {
        let Some(ca) = &self.config.ca_file else {
            return Err(StoreError::Denied(Cause::new(format!(
                "{} needs etcdTrustedCAFile, the certificate of the authority that signed etcd's own",
                self.url
            ))));
        };
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(certificates("etcdTrustedCAFile", ca)?));
        // An IPv6 address has brackets in a URL, but not in a certificate.
        let after_scheme = self.url.trim_start_matches(HTTPS);
        if let Some((ipv6, _)) = after_scheme.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            tls = tls.domain_name(ipv6);
        }
        match (&self.config.cert_file, &self.config.key_file) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (certificates("etcdCertFile", cert)?, private_key("etcdKeyFile", key)?);
                Ok(tls.identity(Identity::from_pem(cert, key)))
            }
            (None, None) => Ok(tls),
            (Some(_), None) => Err(StoreError::Denied(Cause::new("etcdCertFile needs etcdKeyFile beside it"))),
            (None, Some(_)) => Err(StoreError::Denied(Cause::new("etcdKeyFile needs etcdCertFile beside it"))),
        }
    }

    fn login(&self) -> Result<ConnectOptions, StoreError> {
        // kube-ipam logs in again itself: the client would repeat the request after any Unauthenticated, even a proxy's
        // 401.
        let options = ConnectOptions::new().with_require_leader(true);
        let Some(user) = &self.config.username else { return Ok(options) };
        let Some(file) = &self.config.password_file else {
            return Err(StoreError::Denied(Cause::new(format!("username {user} needs passwordFile beside it"))));
        };
        let password = String::from_utf8(read("passwordFile", file)?)
            .map_err(|_| unusable("passwordFile", file, "it holds something other than text"))?;
        Ok(options.with_user(user, password.trim_end_matches(['\n', '\r'])))
    }
}

const HTTPS: &str = "https://";
const PLACEHOLDER: &str = "http://localhost";

fn has_tls_files(config: &EtcdConfig) -> bool {
    config.ca_file.is_some() || config.cert_file.is_some() || config.key_file.is_some()
}

/// The URL with a scheme and without a trailing slash. The default scheme is https if there are certificates, else
/// http.
pub(super) fn full_url(config: &EtcdConfig, url: &str) -> String {
    match url.contains("://") {
        true => url.trim_end_matches('/').to_owned(),
        false if has_tls_files(config) => format!("{HTTPS}{url}"),
        false => format!("http://{url}"),
    }
}

pub(super) fn read(key: &str, file: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(file).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => unusable(key, file, "there is no such file"),
        _ => unusable(key, file, &e),
    })
}

fn certificates(key: &str, file: &Path) -> Result<Vec<u8>, StoreError> {
    let pem = read(key, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(key, file, "it holds no certificate in PEM form")),
        Ok(_) => Ok(pem),
        Err(e) => Err(unusable(key, file, e)),
    }
}

fn private_key(key: &str, file: &Path) -> Result<Vec<u8>, StoreError> {
    let pem = read(key, file)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        // The parser's message is omitted: it is about the content of a secret.
        Err(_) => Err(unusable(key, file, "it holds no private key in PEM form")),
    }
}

fn unusable(key: &str, file: &Path, why: impl std::fmt::Display) -> StoreError {
    StoreError::Denied(Cause::new(format!("{key} {}: {why}", PathBuf::from(file).display())))
}

/// A change of a load balancer's members.
type Update = Change<Uri, tonic::transport::Endpoint>;

/// Passes the client a connected channel. So nothing is sent before the connection is established, and a failure to
/// connect can be told from a failure after the request was sent.
struct Connected<'a> {
    channel: tonic::transport::Channel,
    updates: &'a mut Option<mpsc::Receiver<Update>>,
}

impl BalancedChannelBuilder for Connected<'_> {
    type Error = etcd_client::Error;

    fn balanced_channel(self, size: usize) -> Result<(Channel, mpsc::Sender<Update>), Self::Error> {
        let (updater, updates) = mpsc::channel(size);
        *self.updates = Some(updates);
        Ok((Channel::Tonic(self.channel), updater))
    }
}
