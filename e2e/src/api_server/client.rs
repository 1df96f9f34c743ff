//! A client of the API server. Each request has a connection of its own, so a restart of the server disturbs none.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::Result;

/// How long one request may take on a busy machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends requests as one user.
#[derive(Clone)]
pub struct Client {
    port: u16,
    tls: Arc<ClientConfig>,
    token: String,
}

/// The formats of a PATCH, by their content types.
#[derive(Clone, Copy, Debug)]
pub enum Patch {
    /// RFC 7386: fields replace fields, and null removes one.
    Merge,
    /// Server-side apply: the object as its manager wants it.
    Apply,
}

impl Client {
    /// A client of the server on this loopback port, whose certificate this authority has signed.
    pub(super) fn new(port: u16, authority: &Path, token: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { port, tls: Arc::new(tls), token: token.to_owned() })
    }

    /// The same server, as another user.
    pub(super) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// GETs a path such as `/api/v1/namespaces/db/pods`.
    ///
    /// # Errors
    /// If the server does not answer, or the status is not 2xx.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.succeed("GET", path, "application/json", None)
    }

    /// The same; `None` for status 404.
    ///
    /// # Errors
    /// If the server does not answer, or the status is another one.
    pub fn find(&self, path: &str) -> Result<Option<Value>> {
        let (status, body) = self.request("GET", path, "application/json", None)?;
        if status == 404 { Ok(None) } else { checked("GET", path, status, body).map(Some) }
    }

    /// POSTs an object to the path of its resource. Returns what the server has created.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.succeed("POST", path, "application/json", Some(object))
    }

    /// PUTs an object.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value> {
        self.succeed("PUT", path, "application/json", Some(object))
    }

    /// PATCHes an object.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn patch(&self, path: &str, format: Patch, patch: &Value) -> Result<Value> {
        let content_type = match format {
            Patch::Merge => "application/merge-patch+json",
            // JSON is YAML.
            Patch::Apply => "application/apply-patch+yaml",
        };
        self.succeed("PATCH", path, content_type, Some(patch))
    }

    /// DELETEs an object at once. A pod does not wait for its kubelet.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub fn delete(&self, path: &str) -> Result<Value> {
        self.succeed("DELETE", path, "application/json", Some(&json!({ "gracePeriodSeconds": 0 })))
    }

    fn succeed(&self, method: &str, path: &str, content_type: &str, body: Option<&Value>) -> Result<Value> {
        let (status, body) = self.request(method, path, content_type, body)?;
        checked(method, path, status, body)
    }

    /// Sends a request. Returns the status and the body.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> io::Result<(u16, String)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, ("application/json", content_type), &body)
    }

    /// The same, with the format of the answer, that of the body, and the body as it is.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        (accept, content_type): (&str, &str),
        body: &str,
    ) -> io::Result<(u16, String)> {
        // HTTP/1.0 has no chunks: the body ends with the connection.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nauthorization: Bearer {}\r\naccept: {accept}\r\n\
             content-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        let answer = self.exchange((head + body).as_bytes())?;
        let answer = String::from_utf8(answer).map_err(io::Error::other)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
    }

    /// Sends the bytes of a request of HTTP/1.0. Returns those of the response.
    pub(super) fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        let name = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn checked(method: &str, path: &str, status: u16, body: String) -> Result<Value> {
    if !(200..300).contains(&status) {
        return Err(format!("{method} {path}: status {status}: {}", body.trim()).into());
    }
    // Some paths, such as /readyz, answer with a text.
    Ok(serde_json::from_str(&body).unwrap_or(Value::String(body)))
}
