//! The HTTP endpoints for kubelet probes and Prometheus.
//!
//! | path | 200 as long as |
//! |---|---|
//! | /healthz | the sweeping thread shows a heartbeat |
//! | /readyz | the last scan reached the store and the API server, and the lease can be read and written |
//! | /metrics | always: the controller's metrics, and the usage that the last scan counted |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::TcpListener as Socket;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::error::ControllerError;
use super::shared::Shared;

/// The most open connections. A kubelet and two Prometheus servers need three.
const MAX_CONNECTIONS: usize = 32;

/// How long the headers of a request may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may stay open. Each serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the sweeping thread may go without a heartbeat: this many intervals, but at least this long. A scan of a
/// large store takes time.
const SILENT: (u32, Duration) = (3, Duration::from_secs(600));

/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Turns a bound socket into an async listener.
pub(super) fn listen(socket: Socket) -> Result<TcpListener, ControllerError> {
    let address = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let listening = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
    listening.map_err(|error| ControllerError::Listen { address, error })
}

/// Serves until the process exits.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, interval: Duration) {
    let silent = SILENT.1.max(interval.saturating_mul(SILENT.0));
    let mut connections = Connections::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No file descriptor is left, or the client has disconnected.
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(|request| {
                let response = respond(&request, &shared, silent);
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
            // A client may disconnect at any time.
            let _ =
                tokio::time::timeout(CONNECTION_TIMEOUT, server.serve_connection(TokioIo::new(stream), answer)).await;
        });
    }
}

/// The open connections, the oldest first. A new one is served at once, even if silent clients use all others: a
/// kubelet waits one second for a probe, and then would kill the controller.
#[derive(Default)]
struct Connections(VecDeque<AbortHandle>);

impl Connections {
    /// Serves a connection. Closes the oldest one if there are too many.
    fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.0.retain(|open| !open.is_finished());
        if self.0.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        self.0.push_back(tokio::spawn(connection).abort_handle());
    }
}

fn respond(request: &Request<Incoming>, shared: &Shared, silent: Duration) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/healthz" => match shared.silence() {
            silence if silence < silent => text(StatusCode::OK, "ok\n".to_owned()),
            silence => text(StatusCode::SERVICE_UNAVAILABLE, format!("the loop stands still since {silence:.0?}\n")),
        },
        "/readyz" => match shared.problems() {
            none if none.is_empty() => text(StatusCode::OK, "ok\n".to_owned()),
            problems => text(StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n"),
        },
        "/metrics" => match shared.reported().text() {
            Ok(metrics) => response(StatusCode::OK, OPEN_METRICS, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, PLAIN, body)
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
