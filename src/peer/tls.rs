//! TLS 1.3 between two who know each other's keys and nobody else's: raw public keys (RFC 7250), no certificates, no names,
//! no authorities, nothing taken up again from an earlier connection.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::key::PrivateKey;
use crate::model::PublicKey;

/// Both ends of TLS, for one director and the one that it knows.
#[derive(Clone)]
pub(super) struct Identity {
    /// What this director is known by.
    pub(super) own: PublicKey,
    /// What the other one is known by.
    pub(super) peer: PublicKey,
    pub(super) acceptor: TlsAcceptor,
    pub(super) connector: TlsConnector,
}

impl Identity {
    /// The ends for this key and that of the other one.
    pub(super) fn new(key: &PrivateKey, peer: PublicKey) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let der = CertificateDer::from(key.public.to_der());
        let certified = Arc::new(CertifiedKey::new(vec![der], Arc::clone(&key.signing)));
        let pinned = Arc::new(Pinned {
            peer,
            provider: Arc::clone(&provider),
        });
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::clone(&pinned) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&certified))));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(pinned)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Self {
            own: key.public,
            peer,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    /// What went wrong with a connection, with the remedy where there is one.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match tls {
            Some(Error::General(words)) => words.clone(),
            Some(Error::AlertReceived(alert)) => format!(
                "it does not take this director's key (TLS alert {alert:?}; its `peer_key` has to be {})",
                self.own
            ),
            Some(Error::InvalidMessage(_)) => "what it says is no TLS (is another program there?)".to_owned(),
            Some(Error::NoCertificatesPresented) => "it shows no key (is it an ipvsd?)".to_owned(),
            // The last one is what a plain hello of TLS 1.2 comes to.
            Some(Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            )) => "it speaks TLS 1.2 or older, and here it has to be 1.3 (is it an ipvsd?)".to_owned(),
            Some(Error::PeerIncompatible(why)) => {
                format!("it does not speak TLS 1.3 with raw public keys ({why:?}; is it an ipvsd?)")
            }
            Some(other) => format!("TLS: {other}"),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof => "it has hung up".to_owned(),
                io::ErrorKind::ConnectionRefused => {
                    "connection refused (does ipvsd run there, with this address as its `listen`?)".to_owned()
                }
                _ => error.to_string(),
            },
        }
    }
}

/// Takes one key and no other.
#[derive(Debug)]
struct Pinned {
    peer: PublicKey,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn is_it(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        match PublicKey::from_der(shown) {
            Some(found) if found == self.peer => Ok(()),
            Some(found) => Err(Error::General(format!(
                "it has another key than `peer_key` says: {found} (if that is the other director's, write it there)"
            ))),
            None => Err(Error::General("it shows no Ed25519 key".to_owned())),
        }
    }

    fn has_signed(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(shown.as_ref());
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, known)
    }
}

/// There is no TLS 1.2 here.
fn too_old() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.is_it(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.has_signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.is_it(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.has_signed(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
