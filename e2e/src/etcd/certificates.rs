//! The CA, server and client certificates of one cluster.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Result;

/// Year, month and day.
type Date = (i32, u8, u8);

/// The paths of a cluster's certificates, all PEM.
#[derive(Clone)]
pub struct Certificates {
    /// The CA certificate.
    pub ca: PathBuf,
    /// The members' certificate, for localhost, 127.0.0.1 and ::1.
    pub server_cert: PathBuf,
    /// The members' key.
    pub server_key: PathBuf,
    /// The clients' certificate.
    pub client_cert: PathBuf,
    /// The clients' key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Creates all of them in a folder.
    pub fn write(folder: &Path) -> Result<Self> {
        Self::write_until(folder, (4096, 1, 1))
    }

    /// The same. Those of the members and of the clients expire after this many days, at midnight.
    pub fn write_for(folder: &Path, days: i64) -> Result<Self> {
        let date = (Timestamp::now() + SignedDuration::from_hours(24 * days)).to_zoned(TimeZone::UTC).date();
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Self::write_until(folder, (date.year().into(), month, day))
    }

    fn write_until(folder: &Path, not_after: Date) -> Result<Self> {
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "kube-ipam test authority");
        let key = KeyPair::generate()?;
        let ca = folder.join("ca.pem");
        fs::write(&ca, params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        let (server_cert, server_key) = leaf(&issuer, folder, "server", not_after)?;
        let (client_cert, client_key) = leaf(&issuer, folder, "client", not_after)?;
        Ok(Self { ca, server_cert, server_key, client_cert, client_key })
    }

    /// TLS with the members' certificate, for servers of the tests' own. Clients choose one of these protocols (ALPN).
    pub(crate) fn server_tls(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>> {
        let chain: Vec<_> = CertificateDer::pem_reader_iter(BufReader::new(File::open(&self.server_cert)?))
            .collect::<std::result::Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.server_key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

fn leaf(issuer: &Issuer<'_, KeyPair>, folder: &Path, name: &str, not_after: Date) -> Result<(PathBuf, PathBuf)> {
    let mut params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, name);
    let (year, month, day) = not_after;
    params.not_after = date_time_ymd(year, month, day);
    // etcd's gateway is a client of etcd itself.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let (cert_file, key_file) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}-key.pem")));
    fs::write(&cert_file, params.signed_by(&key, issuer)?.pem())?;
    fs::write(&key_file, key.serialize_pem())?;
    Ok((cert_file, key_file))
}
