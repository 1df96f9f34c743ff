//! The TLS of a connection: whom we trust, and our client certificate.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use kube::Config;
use kube::config::AuthInfo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret;

use super::KubeconfigProblem;
use super::kubeconfig::{certificates, read_named};
use crate::cause::Cause;

/// Connects to the server of the configuration, over TLS unless its URL is one of plain HTTP.
pub(super) fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, KubeconfigProblem> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Otherwise the kernel holds a request back until the server has acknowledged the end of the handshake, 40 ms later.
    tcp.set_nodelay(true);
    let mut connector = HttpsConnectorBuilder::new().with_tls_config(client_config(config)?).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = ServerName::try_from(name.clone()).map_err(unusable)?;
        connector = connector.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    // With HTTP/2, requests side by side share one connection, and one handshake.
    Ok(connector.enable_all_versions().wrap_connector(tcp))
}

fn client_config(config: &Config) -> Result<ClientConfig, KubeconfigProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in config.root_cert.iter().flatten() {
        roots.add(CertificateDer::from_slice(certificate)).map_err(unusable)?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = match config.accept_invalid_certs {
        true => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider))),
        false => builder.with_root_certificates(roots),
    };
    match client_certificate(&config.auth_info)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(unusable),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn unusable(e: impl std::error::Error + Send + Sync + 'static) -> KubeconfigProblem {
    KubeconfigProblem::Credentials(Cause::new(e))
}

type CertificateAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(user: &AuthInfo) -> Result<Option<CertificateAndKey>, KubeconfigProblem> {
    let certificate_data = user.client_certificate_data.as_deref();
    let key_data = user.client_key_data.as_ref().map(|data| data.expose_secret());
    let chain = pem("client-certificate", &user.client_certificate, "client-certificate-data", certificate_data)?;
    let key = pem("client-key", &user.client_key, "client-key-data", key_data)?;
    match (chain, key) {
        (None, None) => Ok(None),
        (Some((chain_name, chain)), Some((key_name, key))) => {
            let chain = certificates(chain_name, &chain)?.into_iter().map(CertificateDer::from).collect();
            let no_key = |_| KubeconfigProblem::NotData { key: key_name, what: "private key in PEM form" };
            Ok(Some((chain, PrivateKeyDer::from_pem_slice(&key).map_err(no_key)?)))
        }
        _ => Err(KubeconfigProblem::HalfPair),
    }
}

/// What the user has under one of two keys, with that key. As in kubectl, data takes precedence over a file.
fn pem(
    file_key: &'static str,
    file: &Option<String>,
    data_key: &'static str,
    data: Option<&str>,
) -> Result<Option<(&'static str, Vec<u8>)>, KubeconfigProblem> {
    if let Some(data) = data {
        let no_base64 = |_| KubeconfigProblem::NotData { key: data_key, what: "base64" };
        return Ok(Some((data_key, STANDARD.decode(data).map_err(no_base64)?)));
    }
    file.as_ref().map(|path| Ok((file_key, read_named(file_key, path.into())?))).transpose()
}

/// Accepts any server, for a cluster with `insecure-skip-tls-verify`.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
