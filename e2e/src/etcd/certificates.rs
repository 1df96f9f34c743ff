//! The CA, server and client certificates of one cluster.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::Result;

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
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "kube-ipam test authority");
        let key = KeyPair::generate()?;
        let ca = folder.join("ca.pem");
        fs::write(&ca, params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        let (server_cert, server_key) = leaf(&issuer, folder, "server")?;
        let (client_cert, client_key) = leaf(&issuer, folder, "client")?;
        Ok(Self { ca, server_cert, server_key, client_cert, client_key })
    }
}

fn leaf(issuer: &Issuer<'_, KeyPair>, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf)> {
    let mut params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, name);
    // etcd's gateway is a client of etcd itself.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let (cert_file, key_file) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}-key.pem")));
    fs::write(&cert_file, params.signed_by(&key, issuer)?.pem())?;
    fs::write(&key_file, key.serialize_pem())?;
    Ok((cert_file, key_file))
}
