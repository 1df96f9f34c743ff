//! A fake API server on loopback. It plays one scenario and records the requests.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Makes a hanging test fail.
const IO_TIMEOUT: Duration = Duration::from_secs(20);

/// How the server treats requests.
#[derive(Clone)]
pub(super) enum Scenario {
    /// It sends this status and body.
    Answers(u16, Vec<u8>),
    /// It sends these responses one after another, and repeats the last one.
    InTurn(Vec<(u16, Vec<u8>)>),
    /// It reads the request and sends nothing.
    Silent,
    /// It begins a response and stops in its body.
    StopsInBody,
    /// It begins a response and closes the connection in its body.
    ClosesInBody,
    /// It reads the request and closes the connection.
    Closes,
    /// It sends a response that never ends.
    Endless,
}

pub(super) struct FakeServer {
    address: SocketAddr,
    secure: bool,
    closing: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl FakeServer {
    pub(super) fn plain(scenario: Scenario) -> io::Result<Self> {
        Self::start(scenario, None)
    }

    pub(super) fn secure(scenario: Scenario, tls: ServerConfig) -> io::Result<Self> {
        Self::start(scenario, Some(Arc::new(tls)))
    }

    fn start(scenario: Scenario, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, secure) = (listener.local_addr()?, tls.is_some());
        let closing = Arc::new(AtomicBool::new(false));
        let closed = closing.clone();
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            // Connections are served one at a time. A second one has to wait for the first, but is recorded too.
            for stream in listener.incoming().flatten() {
                if closed.load(Ordering::SeqCst) {
                    break;
                }
                // A client may disconnect in the middle of a scenario.
                let _ = accept(stream, tls.clone(), &scenario, &mut requests);
            }
            requests
        });
        Ok(Self { address, secure, closing, thread })
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// The requests with their headers. All clients must have disconnected.
    pub(super) fn requests(self) -> thread::Result<Vec<String>> {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the thread if it waits in `incoming`. If it does not, it has ended.
        let _ = TcpStream::connect(self.address);
        self.thread.join()
    }
}

fn accept(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    scenario: &Scenario,
    requests: &mut Vec<String>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    match tls {
        None => play(stream, scenario, requests),
        Some(tls) => {
            let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
            play(StreamOwned::new(connection, stream), scenario, requests)
        }
    }
}

fn play(mut stream: impl Read + Write, scenario: &Scenario, requests: &mut Vec<String>) -> io::Result<()> {
    const LONG: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n{\"kind\":";
    while let Some(request) = hear(&mut stream)? {
        requests.push(request);
        match scenario {
            Scenario::Answers(status, body) => stream.write_all(&whole(*status, body))?,
            Scenario::InTurn(responds) => {
                let (status, body) = &responds[(requests.len() - 1).min(responds.len() - 1)];
                stream.write_all(&whole(*status, body))?;
            }
            // The next read returns when the client disconnects.
            Scenario::Silent => {}
            Scenario::StopsInBody => stream.write_all(LONG)?,
            Scenario::ClosesInBody => return stream.write_all(LONG),
            Scenario::Closes => return Ok(()),
            Scenario::Endless => {
                stream.write_all(LONG)?;
                loop {
                    stream.write_all(&[b' '; 1 << 16])?;
                }
            }
        }
        stream.flush()?;
    }
    Ok(())
}

/// A complete HTTP response.
fn whole(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Word\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The next request with its body; `None` at the end.
fn hear(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Some(String::from_utf8_lossy(&[request, body].concat()).into_owned()))
}
