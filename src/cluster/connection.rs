//! A client of the API server, for who waits for several things at once; [`ApiServer`](super::ApiServer) waits for one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};

use super::access::Access;
use super::answer::Answer;
use super::object::{Kind, Object};
use super::{ClusterError, failure, kubeconfig};
use crate::ipam::seed::fnv1a_128;
use crate::store::Deadline;

/// How long a connection may take: on a network of a cluster a second try is one packet sent again after a second.
pub(super) const CONNECT: Duration = Duration::from_millis(1500);

/// The largest answer that is read: etcd takes no object of more than 1.5 MiB.
pub(super) const LARGEST: usize = 2 << 20;

/// The largest page of a list that is read: with [`super::census::PAGE`] pods, of which each has 256 KiB of annotations at
/// most.
const LARGEST_PAGE: usize = 64 << 20;

/// The API server, with the credentials that were there when it was opened. All of it wants a tokio runtime around.
pub struct Connection {
    /// Where the credentials come from, for error texts.
    credentials: PathBuf,
    /// For error texts.
    pub(super) url: String,
    fingerprint: String,
    client: Client,
}

impl Connection {
    /// Reads what the access names. Nothing is connected before the first question.
    pub fn open(access: &Access) -> Result<Self, ClusterError> {
        let mut config = access.read()?;
        config.connect_timeout = Some(CONNECT);
        config.default_retry = false;
        let (url, fingerprint) = (shown(&config.cluster_url), fingerprint(&config));
        if config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http") {
            tracing::warn!(url, "whoever is on the network between can pose as this API server");
        }
        // The client starts a task.
        let client = Client::try_from(config).map_err(|e| access.unusable(kubeconfig::of_client(e)))?;
        Ok(Self { credentials: access.path().to_owned(), url, fingerprint, client })
    }

    /// What tells this server from others.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Sends a request once, and waits for its whole answer until the deadline.
    pub(super) async fn ask(
        &self,
        request: http::Request<Vec<u8>>,
        object: &Object,
        until: Deadline,
    ) -> Result<Answer<'_>, ClusterError> {
        self.within(until, async {
            let (status, body) = self.send(request).await?;
            self.whole(status, body, object).await
        })
        .await
    }

    /// Sends a request once, and waits for the begin of its answer: its status, and the rest.
    pub(super) async fn send(&self, request: http::Request<Vec<u8>>) -> Result<(u16, Body), ClusterError> {
        let response = self.client.send(request.map(Body::from)).await;
        let response = response.map_err(|e| failure::of_sending(&self.url, &e))?;
        Ok((response.status().as_u16(), response.into_body()))
    }

    /// An answer whose body has come to its end.
    pub(super) async fn whole(&self, status: u16, body: Body, object: &Object) -> Result<Answer<'_>, ClusterError> {
        let largest = if matches!(object.kind, Kind::Pods | Kind::Nodes) { LARGEST_PAGE } else { LARGEST };
        let body = Limited::new(body, largest).collect().await;
        let body = body.map_err(|e| failure::of_reading(&self.url, object, largest, e.as_ref()))?.to_bytes().into();
        Ok(Answer { url: &self.url, credentials: &self.credentials, status, body })
    }

    /// Waits for an answer until the deadline.
    pub(super) async fn within<T>(
        &self,
        until: Deadline,
        asking: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let began = Instant::now();
        let answer = tokio::time::timeout_at(until.instant().into(), asking).await;
        answer.unwrap_or_else(|_| Err(ClusterError::Slow { url: self.url.clone(), waited: began.elapsed() }))
    }
}

/// What tells an API server from others: a digest of its URL and its authority.
pub(super) fn fingerprint(config: &Config) -> String {
    let mut text = config.cluster_url.to_string().into_bytes();
    for certificate in config.root_cert.iter().flatten() {
        // The length keeps two lists of certificates apart that read alike when they stand in a row.
        text.extend_from_slice(&certificate.len().to_be_bytes());
        text.extend_from_slice(certificate);
    }
    format!("{:032x}", fnv1a_128(&text))
}

/// A server's URL as texts show it: without a query, where somebody may have put a secret.
fn shown(url: &http::Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str());
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}
