//! A faulty member of etcd, with or without TLS, like a wrong entry in a list of members or a broken proxy in front of
//! one.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Result;
use crate::etcd::Certificates;
use crate::http2::{self, Frame};

/// What it does with each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It returns HTTP 503, as a load balancer without a healthy server does.
    Unavailable,
    /// It closes the connection when a request arrives.
    Closes,
    /// It speaks HTTP/1.1.
    OtherProtocol,
    /// It never responds.
    Silent,
}

/// The faulty member. It ends when this is dropped.
pub struct FaultyMember {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Behaviour,
    tls: Option<Arc<ServerConfig>>,
    connected: AtomicUsize,
    closing: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl FaultyMember {
    /// Starts a member on a free port, with TLS if there are certificates.
    ///
    /// # Errors
    /// If there is no free port, or the certificates can't be used.
    pub fn start(behaviour: Behaviour, certificates: Option<&Certificates>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let shared = Arc::new(Shared {
            behaviour,
            tls: certificates.map(|files| files.server_tls(&[b"h2"])).transpose()?,
            connected: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let member = Self { address: listener.local_addr()?, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closing.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&shared);
                // The client may disconnect at any time.
                thread::spawn(move || drop(shared.serve(client)));
            }
        });
        Ok(member)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How many connections were made to it.
    pub fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::SeqCst)
    }
}

impl Drop for FaultyMember {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for connection in self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // The connection may be closed already.
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) -> Result<()> {
        self.connected.fetch_add(1, Ordering::SeqCst);
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(client.try_clone()?);
        match &self.tls {
            Some(config) => {
                let connection = ServerConnection::new(Arc::clone(config))?;
                self.misbehave(StreamOwned::new(connection, client))?;
            }
            None => self.misbehave(client)?,
        }
        Ok(())
    }

    fn misbehave(&self, mut client: impl Read + Write) -> io::Result<()> {
        http2::read_preface(&mut client)?;
        match self.behaviour {
            Behaviour::Unavailable => refuse_all(client),
            Behaviour::Closes => Ok(()),
            Behaviour::OtherProtocol => {
                client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
                read_to_the_end(client)
            }
            Behaviour::Silent => read_to_the_end(client),
        }
    }
}

fn read_to_the_end(mut client: impl Read) -> io::Result<()> {
    io::copy(&mut client, &mut io::sink()).map(drop)
}

/// Returns 503 to each complete request.
fn refuse_all(mut client: impl Read + Write) -> io::Result<()> {
    client.write_all(&http2::settings())?;
    loop {
        let frame = Frame::read(&mut client)?;
        if let Some(acknowledgement) = frame.acknowledgement() {
            client.write_all(&acknowledgement)?;
        }
        if frame.ends_stream() {
            client.write_all(&http2::unavailable(frame.stream()))?;
        }
    }
}
