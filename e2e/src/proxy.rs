//! A network that fails once: a proxy in front of etcd that holds back one request, or drops one response.
//!
//! It forwards HTTP/2 frames and counts those that begin a request. All other requests pass, on any connection.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::http2::{self, Frame};

/// How long to wait for something that will happen.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request reaches etcd after [`Proxy::release`], even if its client is gone by then.
    HeldBack,
    /// The same, and the client gets HTTP 503, as from a load balancer.
    HeldBackBehind503,
    /// The same, and the client's connection is closed.
    HeldBackAndClosed,
    /// The request reaches etcd, but its response is dropped.
    AnswerLost,
}

impl Fault {
    fn holds_back(self) -> bool {
        self != Self::AnswerLost
    }
}

/// The proxy. It ends when this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Fault,
    /// The number of the faulty request. The first is 1.
    nth: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: u32,
    /// The request was received completely.
    sent: bool,
    released: bool,
    /// etcd has responded to it.
    answered: bool,
    closing: bool,
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// A proxy in front of this loopback port, with this fault for the `nth` request.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn new(port: u16, fault: Fault, nth: u32) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { fault, nth, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.state().closing {
                    break;
                }
                // Failing to connect is one more fault of a network.
                let _ = client.and_then(|client| accepting.connect(client, port));
            }
        });
        Ok(Self { address, shared })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the request is held back, or its response is dropped.
    ///
    /// # Panics
    /// If that does not happen.
    #[track_caller]
    pub fn wait_for_the_fault(&self) {
        let fault = self.shared.fault;
        self.shared.wait(|state| state.sent && (fault.holds_back() || state.answered));
    }

    /// Forwards the request that was held back, and waits until etcd has responded.
    ///
    /// # Panics
    /// If etcd does not respond.
    #[track_caller]
    pub fn release(&self) {
        self.shared.state().released = true;
        self.shared.changed.notify_all();
        self.shared.wait(|state| state.answered);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closing = true;
        for connection in &state.connections {
            // The connection may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn wait(&self, is_so: impl Fn(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.state(), LONGEST_WAIT, |state| !is_so(state));
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        assert!(is_so(&state), "the request was not seen, or etcd did not answer it");
    }

    fn connect(self: &Arc<Self>, client: TcpStream, port: u16) -> io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        self.state().connections.extend([client.try_clone()?, server.try_clone()?]);
        // The stream of the faulty request, if it is on this connection.
        let chosen = Arc::new(Mutex::new(None));
        let (to_server, to_client) = ((client.try_clone()?, server.try_clone()?), (server, client));
        let (requests, answers) = (Arc::clone(self), Arc::clone(self));
        let of_answers = Arc::clone(&chosen);
        thread::spawn(move || drop(requests.pass_requests(to_server.0, to_server.1, &chosen)));
        thread::spawn(move || drop(answers.pass_answers(to_client.0, to_client.1, &of_answers)));
        Ok(())
    }

    /// Forwards frames from a client to etcd until one of them disconnects.
    fn pass_requests(
        &self,
        mut client: TcpStream,
        mut server: TcpStream,
        chosen: &Mutex<Option<u32>>,
    ) -> io::Result<()> {
        server.write_all(&http2::read_preface(&mut client)?)?;
        let mut held = Vec::new();
        let mut mine = None;
        while let Ok(frame) = Frame::read(&mut client) {
            if frame.kind() == http2::HEADERS && mine.is_none() {
                let mut state = self.state();
                state.requests += 1;
                if state.requests == self.nth {
                    mine = Some(frame.stream());
                    *chosen.lock().unwrap_or_else(PoisonError::into_inner) = mine;
                }
            }
            let is_last = mine == Some(frame.stream()) && frame.ends_stream();
            if mine.is_some() && self.fault.holds_back() {
                // Drop frames that would cancel the request, as if the client's machine had died.
                if !matches!(frame.kind(), http2::RST_STREAM | http2::GOAWAY) {
                    held.extend_from_slice(frame.bytes());
                }
            } else {
                server.write_all(frame.bytes())?;
            }
            if is_last {
                match self.fault {
                    Fault::HeldBackBehind503 => client.write_all(&http2::unavailable(frame.stream()))?,
                    Fault::HeldBackAndClosed => client.shutdown(Shutdown::Both)?,
                    Fault::HeldBack | Fault::AnswerLost => {}
                }
                self.state().sent = true;
                self.changed.notify_all();
            }
        }
        if !held.is_empty() {
            let waited = self.changed.wait_while(self.state(), |state| !state.released && !state.closing);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            // The other thread reads the response. It ends with the connection.
            return server.write_all(&held);
        }
        server.shutdown(Shutdown::Both)
    }

    /// Forwards frames from etcd to a client. If the client has disconnected, etcd still continues.
    fn pass_answers(
        &self,
        mut server: TcpStream,
        mut client: TcpStream,
        chosen: &Mutex<Option<u32>>,
    ) -> io::Result<()> {
        loop {
            let frame = match Frame::read(&mut server) {
                Ok(frame) => frame,
                Err(_) => return client.shutdown(Shutdown::Both),
            };
            let is_mine = *chosen.lock().unwrap_or_else(PoisonError::into_inner) == Some(frame.stream());
            if !(is_mine && self.fault == Fault::AnswerLost) {
                let _ = client.write_all(frame.bytes());
            }
            if is_mine && frame.ends_stream() {
                self.state().answered = true;
                self.changed.notify_all();
            }
        }
    }
}
