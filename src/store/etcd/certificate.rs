//! Reads when the certificate is valid that a member presents, and whose name the client's own has.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tonic::transport::Uri;

use super::endpoint::read;
use crate::cause::Cause;
use crate::certificate::{Validity, common_name};
use crate::deadline::Deadline;

/// etcd's port for clients, if a URL names none.
const PORT: u16 = 2379;

/// The common name in the first certificate of a file.
pub(super) fn name_of_file(file: &Path) -> Result<Option<String>, Cause> {
    Ok(common_name(&read("etcdCertFile", file).map_err(Cause::new)?))
}

/// When the certificate is valid that a member presents.
///
/// Nothing is sent over this connection, so it does not matter that the certificate is not verified. The member may end
/// the handshake because this client presents no certificate; by then, its own has arrived.
pub(super) fn served(url: &str, deadline: Deadline) -> Result<Validity, Cause> {
    let uri: Uri = url.parse().map_err(Cause::new)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let provider = ring::default_provider();
    let seen = Arc::new(Seen { provider: provider.clone(), certificate: Mutex::default() });
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(Cause::new)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(host.clone()).map_err(Cause::new)?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(Cause::new)?;
    let mut stream = connect(&host, uri.port_u16().unwrap_or(PORT), deadline)?;
    let shaken = connection.complete_io(&mut stream);
    let certificate = seen.certificate.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (certificate, shaken) {
        (Some(der), _) => Validity::from_der(&der).ok_or_else(|| Cause::new("it presents a broken certificate")),
        (None, Err(e)) => Err(Cause::new(e)),
        (None, Ok(_)) => Err(Cause::new("it presents no certificate")),
    }
}

fn connect(host: &str, port: u16, deadline: Deadline) -> Result<TcpStream, Cause> {
    let mut last = Cause::new(format!("{host} has no address"));
    for address in (host, port).to_socket_addrs().map_err(Cause::new)? {
        let left = deadline.remaining();
        if left.is_zero() {
            return Err(Cause::new("no answer in time"));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                let limited = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
                return limited.map(|()| stream).map_err(Cause::new);
            }
            Err(e) => last = Cause::new(e),
        }
    }
    Err(last)
}

/// Keeps the certificate that a server presents, whatever it is.
#[derive(Debug)]
struct Seen {
    provider: CryptoProvider,
    certificate: Mutex<Option<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use jiff::Timestamp;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    #[test]
    fn a_server_shows_its_certificate_even_if_that_has_expired() {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
            // The client leaves after the handshake.
            let _ = connection.complete_io(&mut stream);
        });
        let found = served(&url, Deadline::after(Duration::from_secs(20))).unwrap();
        server.join().unwrap();
        assert_eq!(found.until, "2021-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    }
}
