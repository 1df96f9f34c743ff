//! An API server on loopback that plays one scenario, and notes what it is asked.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Beyond this a test hangs, and fails instead.
const IO_TIMEOUT: Duration = Duration::from_secs(20);

/// How the server treats whoever connects.
#[derive(Clone)]
pub(super) enum Scenario {
    /// It responds.
    Answers(u16, Vec<u8>),
    /// It answers one request after the other, and the last response again.
    InTurn(Vec<(u16, Vec<u8>)>),
    /// It hears the request, and says nothing.
    Silent,
    /// It begins to answer, and stops.
    StopsInBody,
    /// It begins to answer, and closes.
    ClosesInBody,
    /// It hears the request, and closes.
    Closes,
    /// It responds without an end.
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
            // One connection after the other: a second one would wait for the end of the first, and is seen all the same.
            for stream in listener.incoming().flatten() {
                if closed.load(Ordering::SeqCst) {
                    break;
                }
                // Whoever goes away in the middle is part of the play.
                let _ = accept(stream, tls.clone(), &scenario, &mut requests);
            }
            requests
        });
        Ok(Self { address, secure, closing, thread })
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }

    /// What it was asked, each with its headers. Everybody has to be gone by then.
    pub(super) fn requests(self) -> thread::Result<Vec<String>> {
        self.closing.store(true, Ordering::SeqCst);
        // Whoever waits in `incoming` wakes up; if nobody does, the thread has ended.
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
            // The next thing to hear is that the other side has gone.
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

/// A response with its head.
fn whole(status: u16, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} Word\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The next request with its body; nothing at the end.
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
