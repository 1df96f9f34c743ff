//! When certificates are valid (RFC 5280, section 4.1.2.5). Nothing else of them is read here; TLS judges the rest.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The time in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: Timestamp,
    /// Until then.
    pub until: Timestamp,
}

impl Validity {
    /// The validity of a certificate in DER form; `None` if it is none.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let from = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
        // A certificate without an end has the year 9999, which the calendar has.
        let until = Timestamp::from_second(validity.not_after.timestamp()).ok()?;
        Some(Self { from, until })
    }

    /// The time in which all certificates of a PEM text are valid, such as a chain; `None` if it has none, or one that
    /// can't be read.
    pub fn of_all_in(pem: &[u8]) -> Option<Self> {
        let each = CertificateDer::pem_slice_iter(pem).map(|der| Self::from_der(&der.ok()?));
        let each = each.collect::<Option<Vec<_>>>()?;
        let from = each.iter().map(|validity| validity.from).max()?;
        let until = each.iter().map(|validity| validity.until).min()?;
        Some(Self { from, until })
    }
}

/// The common name in the first certificate of a PEM text, as etcd and Kubernetes use it for a user.
pub fn common_name(pem: &[u8]) -> Option<String> {
    let der = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, until: i32) -> String {
        let mut params = CertificateParams::new(["kube-ipam".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_chain_is_valid_while_all_its_certificates_are() {
        let chain = [certificate(2020, 2030), certificate(2024, 2060)].concat();
        let validity = Validity::of_all_in(chain.as_bytes()).unwrap();
        assert_eq!((validity.from, validity.until), (at("2024-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z")));
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let broken = certificate(2020, 2030).replace('A', "B");
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n", &broken] {
            assert_eq!(Validity::of_all_in(pem.as_bytes()), None, "{pem}");
        }
    }
}
