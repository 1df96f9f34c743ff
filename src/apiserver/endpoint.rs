//! The async client, for several requests at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use tokio::sync::Mutex;

use super::{Access, ConnectionError, headers, tls};
use crate::deadline::Deadline;

/// The timeout for connecting. It allows one retransmission, which comes after a second.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// A request with less time than this would not be answered in time, and is not sent.
const LEAST_TIME: Duration = Duration::from_millis(2);

/// How often a connection of HTTP/2 is checked while the server sends nothing, and how long each check may take. Without
/// it, a watch would not notice that its server is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An API server, with the credentials from when it was opened. Needs a tokio runtime, always the same one. A clone uses
/// the same connections.
#[derive(Clone)]
pub struct Endpoint {
    /// The file or folder of the credentials, for error texts.
    credentials: PathBuf,
    url: String,
    /// The server's URL, to which the paths of requests are appended.
    base: http::Uri,
    /// Who we are, in every request.
    identity: HeaderMap,
    client: Client<TimeoutConnector<HttpsConnector<HttpConnector>>, Full<Bytes>>,
    /// Whether the server has responded. Until then, one request is sent at a time: it opens the connection of HTTP/2
    /// that the others share. Side by side, each would open its own.
    has_responded: Arc<Mutex<bool>>,
}

impl Endpoint {
    /// Connects with the first request to the server that these credentials were read for ([`Access::read`]).
    pub fn open(access: &Access, config: Config) -> Result<Self, ConnectionError> {
        let url = display_url(&config.cluster_url);
        if config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http") {
            tracing::warn!(url, "its identity is not verified; anyone on the network path can pose as this API server");
        }
        let identity = headers::identity(&config.auth_info).map_err(|problem| access.unusable(problem))?;
        let mut connector = TimeoutConnector::new(tls::connector(&config).map_err(|problem| access.unusable(problem))?);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut client = Client::builder(TokioExecutor::new());
        client.timer(TokioTimer::new()).http2_keep_alive_interval(KEEP_ALIVE).http2_keep_alive_timeout(KEEP_ALIVE);
        Ok(Self {
            credentials: access.path().to_owned(),
            url,
            base: config.cluster_url,
            identity,
            client: client.build(connector),
            has_responded: Arc::default(),
        })
    }

    /// The server's URL, for error texts.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file or folder of the credentials, for error texts.
    pub fn credentials(&self) -> &Path {
        &self.credentials
    }

    /// Sends a request once. The body of its response is unread.
    pub async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Incoming>, ConnectionError> {
        let (mut parts, body) = request.into_parts();
        parts.uri = join(&self.base, &parts.uri).map_err(|e| ConnectionError::not_sent(&self.url, e))?;
        parts.headers.extend(self.identity.clone());
        let has_responded = self.has_responded.lock().await;
        let mut first = (!*has_responded).then_some(has_responded);
        let response = self.client.request(http::Request::from_parts(parts, Full::from(body))).await;
        if let (Some(has_responded), Ok(_)) = (&mut first, &response) {
            **has_responded = true;
        }
        response.map_err(|e| ConnectionError::from_send_error(&self.url, e))
    }

    /// Reads the whole body of a response, up to this many bytes.
    pub async fn read(&self, body: Incoming, limit: usize) -> Result<Vec<u8>, ConnectionError> {
        let body = Limited::new(body, limit).collect().await;
        Ok(body.map_err(|e| ConnectionError::from_read_error(&self.url, limit, e))?.to_bytes().into())
    }

    /// Reads the next part of a body; `None` at its end.
    pub async fn next_part(&self, body: &mut Incoming) -> Result<Option<Vec<u8>>, ConnectionError> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| ConnectionError::from_read_error(&self.url, usize::MAX, e.into()))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data.into()));
            }
        }
        Ok(None)
    }

    /// Waits until the deadline at most.
    pub async fn within<T, E: From<ConnectionError>>(
        &self,
        deadline: Deadline,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if deadline.remaining() < LEAST_TIME {
            return Err(ConnectionError::not_sent(&self.url, "the call has no time left").into());
        }
        let began = Instant::now();
        let response = tokio::time::timeout_at(deadline.instant().into(), request).await;
        response.unwrap_or_else(|_| {
            Err(ConnectionError::TimedOut { url: self.url.clone(), waited: began.elapsed() }.into())
        })
    }
}

/// A server's URL for error texts, without its query, which may contain a secret.
fn display_url(url: &http::Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str());
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path().trim_end_matches('/'))
}

/// The path and query of a request, below the server's URL, which may have a path of its own.
fn join(base: &http::Uri, of: &http::Uri) -> Result<http::Uri, http::Error> {
    let path = of.path_and_query().map_or("/", |path| path.as_str());
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(format!("{}{path}", base.path().trim_end_matches('/')).parse()?);
    Ok(http::Uri::from_parts(parts)?)
}
