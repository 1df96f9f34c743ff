//! When the credentials of a kubeconfig expire. Sends no request.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use kube::Config;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{Access, ClusterError};
use crate::certificate::Validity;

/// A part of a kubeconfig that expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What it is: `client certificate`, `token` or `certificate authority`.
    pub what: &'static str,
    /// When it becomes valid, if that is known.
    pub from: Option<Timestamp>,
    /// When it expires.
    pub until: Timestamp,
}

/// The claims of a service account's token that are read (RFC 7519, section 4.1).
#[derive(Deserialize)]
struct Claims {
    /// Seconds since 1970.
    exp: Option<f64>,
    nbf: Option<f64>,
}

/// The parts of a kubeconfig that expire. A token without a date, such as a static one, is not among them.
pub fn credentials(access: &Access) -> Result<Vec<Credential>, ClusterError> {
    let config = access.read()?;
    let authority = config.root_cert.iter().flatten().filter_map(|der| Validity::from_der(der));
    // Any of them may be the one that has signed the server's certificate.
    let authority = authority.max_by_key(|validity| validity.until);
    let certificate = client_certificate(&config).as_deref().and_then(Validity::of_all_in);
    let token = config.auth_info.token.as_ref().and_then(|token| of_token(token.expose_secret()));
    let of_validity = |what, validity: Option<Validity>| {
        validity.map(|Validity { from, until }| Credential { what, from: Some(from), until })
    };
    let parts =
        [of_validity("client certificate", certificate), token, of_validity("certificate authority", authority)];
    Ok(parts.into_iter().flatten().collect())
}

/// The client certificate as PEM. What can't be read is reported by whoever opens the kubeconfig.
fn client_certificate(config: &Config) -> Option<Vec<u8>> {
    let user = &config.auth_info;
    match (&user.client_certificate_data, &user.client_certificate) {
        (Some(data), _) => STANDARD.decode(data).ok(),
        (None, Some(file)) => fs::read(Path::new(file)).ok(),
        (None, None) => None,
    }
}

fn of_token(token: &str) -> Option<Credential> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp, nbf } = serde_json::from_slice(&claims).ok()?;
    let at = |seconds: f64| Timestamp::from_second(seconds as i64).ok();
    Some(Credential { what: "token", from: nbf.and_then(at), until: at(exp?)? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn kubeconfig(user: &serde_json::Value) -> (tempfile::TempDir, Access) {
        let folder = tempfile::Builder::new().prefix("kube-ipam-").tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let content = json!({
            "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": { "server": "http://192.0.2.1" } }],
            "users": [{ "name": "u", "user": user }],
        });
        fs::write(&path, content.to_string()).unwrap();
        (folder, Access::Kubeconfig(path))
    }

    fn token(claims: &serde_json::Value) -> String {
        format!("header.{}.signature", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_token_of_a_service_account_says_when_it_expires() {
        let claims = json!({ "exp": 1_800_003_600, "nbf": 1_800_000_000 });
        let (_folder, access) = kubeconfig(&json!({ "token": token(&claims) }));
        let at = |second| Timestamp::from_second(second).unwrap();
        let expected = Credential { what: "token", from: Some(at(1_800_000_000)), until: at(1_800_003_600) };
        assert_eq!(credentials(&access).unwrap(), [expected]);
    }

    #[test]
    fn what_has_no_date_does_not_expire() {
        for token in [token(&json!({})), "plain".to_owned(), "a.b.c".to_owned(), token(&json!({ "exp": "soon" }))] {
            let (_folder, access) = kubeconfig(&json!({ "token": token }));
            assert_eq!(credentials(&access).unwrap(), [], "{token}");
        }
    }

    #[test]
    fn a_client_certificate_expires_in_a_file_or_in_the_kubeconfig() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["node".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let pem = params.self_signed(&key).unwrap().pem();
        let (folder, inline) = kubeconfig(&json!({
            "client-certificate-data": STANDARD.encode(&pem), "client-key-data": STANDARD.encode(key.serialize_pem()),
        }));
        fs::write(folder.path().join("node.crt"), &pem).unwrap();
        let (_folder, in_file) = kubeconfig(&json!({
            "client-certificate": folder.path().join("node.crt"), "client-key": "node.key",
        }));
        for access in [inline, in_file] {
            let found = credentials(&access).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(
                (found[0].what, found[0].until.to_string()),
                ("client certificate", "2031-02-03T00:00:00Z".into())
            );
        }
    }
}
