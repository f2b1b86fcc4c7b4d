//! Why there is no TLS connection, or no longer one, in words that name the remedy.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use crate::model::FailureCause;

const TOO_OLD: &str = "the server speaks neither TLS 1.2 nor 1.3 (older versions are not spoken here; let it speak 1.2, \
                       or check it by type = \"tcp\" or \"script\")";
const NO_CERTIFICATE: &str = "the server wants a certificate of this host (add client_certificate and client_key)";

/// The error of TLS that an error of a stream carries.
pub(in super::super) fn within(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

/// `empty_handed`: the server has asked for a certificate of this host, and there is none to show.
pub(in super::super) fn of(error: &Error, empty_handed: bool) -> FailureCause {
    FailureCause::Tls(match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired".into(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet".into()
            }
            CertificateError::UnknownIssuer => "nobody who is trusted has issued the certificate".into(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name".into()
            }
            other => format!("the certificate is not good: {other}").into(),
        },
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => TOO_OLD.into(),
        Error::AlertReceived(AlertDescription::CertificateRequired) => NO_CERTIFICATE.into(),
        // What a server of TLS 1.2 says to the same.
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::BadCertificate) if empty_handed => {
            NO_CERTIFICATE.into()
        }
        // A client hears these about its own certificate only.
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA),
        ) => format!("the server does not take the client_certificate: {alert:?}").into(),
        Error::AlertReceived(alert) => format!("the server refused with {alert:?}").into(),
        Error::InvalidMessage(what) => {
            return FailureCause::Malformed {
                protocol: "TLS",
                why: format!("{what:?}").into(),
            };
        }
        other => other.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_what_it_misses() {
        let words = |error, empty_handed| of(&error, empty_handed).to_string();
        let alert = |description, empty_handed| words(Error::AlertReceived(description), empty_handed);
        let old = Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13);
        assert_eq!(words(old, false), format!("TLS: {TOO_OLD}"));
        assert_eq!(
            alert(AlertDescription::ProtocolVersion, false),
            format!("TLS: {TOO_OLD}")
        );
        for (description, empty_handed) in [
            (AlertDescription::CertificateRequired, false),
            (AlertDescription::HandshakeFailure, true),
            (AlertDescription::BadCertificate, true),
        ] {
            assert_eq!(alert(description, empty_handed), format!("TLS: {NO_CERTIFICATE}"));
        }
        assert_eq!(
            alert(AlertDescription::HandshakeFailure, false),
            "TLS: the server refused with HandshakeFailure"
        );
        assert_eq!(
            alert(AlertDescription::UnknownCA, false),
            "TLS: the server does not take the client_certificate: UnknownCA"
        );
    }
}
