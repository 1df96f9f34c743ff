//! A way to one port that a test can close: connections end, and new ones are refused, while the server keeps running.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::Result;

/// The gate. It ends when this is dropped.
pub struct Gate {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    ended: bool,
    connections: Vec<TcpStream>,
}

impl Gate {
    /// An open gate to this loopback port.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut state = lock(&shared);
                if state.ended {
                    break;
                }
                if !state.closed {
                    // A connection that fails is one that the gate refuses.
                    let _ = client.and_then(|client| state.connect(&client, port));
                }
            }
        });
        Ok(Self { address, state })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all connections, and refuses new ones.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.end_connections();
    }

    /// Lets connections through again.
    pub fn open(&self) {
        lock(&self.state).closed = false;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.end_connections();
        drop(state);
        // The thread waits for the next client.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn connect(&mut self, client: &TcpStream, port: u16) -> io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        for (from, to) in [(client, &server), (&server, client)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || {
                // It ends with either side, or by `close`.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        self.connections.extend([client.try_clone()?, server]);
        Ok(())
    }

    fn end_connections(&mut self) {
        for connection in self.connections.drain(..) {
            // It may have ended.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
