//! TLS for all probes that use it: whom to trust, the handshake, and the days that a certificate has left.
//!
//! Settings are read from files when they are first needed and again after a minute, so that a renewed file counts
//! without a reload and a thousand probes a second read it once.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode;

use super::attempt::Attempt;
use super::{Findings, Verdict, fault, tcp};
use crate::model::{FailureCause, LocalTrouble, ProbeOutcome, ProbeWarning, Stage, TlsProbe, TlsSettings, Trust};

/// How long settings made from files hold.
const FRESH: Duration = Duration::from_secs(60);
/// The most that is read of a certificate or key file.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, probe: &TlsProbe) -> Verdict {
    let stream = attempt.connect().await?;
    let (mut stream, warning) = handshake(attempt, stream, &probe.tls, &[]).await?;
    tcp::talk(attempt, &mut stream, &probe.steps).await?;
    Ok(Findings {
        warning,
        ..Findings::default()
    })
}

/// A connection, over TLS or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Makes TLS of a connection where there are settings for that.
pub(super) async fn maybe(
    attempt: &Attempt<'_>,
    stream: TcpStream,
    settings: Option<&TlsSettings>,
) -> Result<(Box<dyn Stream>, Option<ProbeWarning>), ProbeOutcome> {
    match settings {
        None => Ok((Box::new(stream), None)),
        Some(settings) => {
            let (stream, warning) = handshake(attempt, stream, settings, &[]).await?;
            Ok((Box::new(stream), warning))
        }
    }
}

/// Makes TLS of a connection; `protocols` is what is offered by ALPN.
pub(super) async fn handshake<S>(
    attempt: &Attempt<'_>,
    stream: S,
    settings: &TlsSettings,
    protocols: &'static [&'static [u8]],
) -> Result<(TlsStream<S>, Option<ProbeWarning>), ProbeOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let trouble = |why: String| ProbeOutcome::Local(LocalTrouble::Setup(why.into()));
    let config = client_config(settings, protocols).await.map_err(trouble)?;
    let name = match &settings.server_name {
        Some(name) => ServerName::try_from(name.clone()).map_err(|_| trouble(format!("`{name}` is no server name")))?,
        None => ServerName::from(attempt.target().ip()),
    };
    attempt.await_stage(Stage::TlsHandshake);
    let stream = match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => stream,
        Err(error) => return Err(classify(&error)),
    };
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let warning = certificate.and_then(|certificate| expiry(certificate, settings.expiry_warning));
    Ok((stream, warning))
}

/// Whose fault it is that there is no TLS connection, in words.
fn classify(error: &io::Error) -> ProbeOutcome {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return fault::of_stream(error, Stage::TlsHandshake);
    };
    let cause = match tls {
        Error::InvalidCertificate(error) => FailureCause::Tls(match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the certificate has expired".into(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet".into()
            }
            CertificateError::UnknownIssuer => "nobody who is trusted has issued the certificate".into(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name".into()
            }
            other => format!("the certificate is not good: {other}").into(),
        }),
        Error::AlertReceived(alert) => FailureCause::Tls(format!("the server refused with {alert:?}").into()),
        Error::InvalidMessage(what) => FailureCause::Malformed {
            protocol: "TLS",
            why: format!("{what:?}").into(),
        },
        other => FailureCause::Tls(other.to_string().into()),
    };
    ProbeOutcome::Failure(cause)
}

/// A warning for a certificate that ends within `soon`.
fn expiry(certificate: &CertificateDer<'_>, soon: Duration) -> Option<ProbeWarning> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    match (UNIX_EPOCH + end).duration_since(SystemTime::now()) {
        Ok(left) if left > soon => None,
        Ok(left) => Some(ProbeWarning::CertificateExpires {
            days: left.as_secs() / 86_400,
        }),
        Err(_) => Some(ProbeWarning::CertificateExpired),
    }
}

struct Made {
    trust: Trust,
    client: Option<(std::path::PathBuf, std::path::PathBuf)>,
    protocols: &'static [&'static [u8]],
    at: Instant,
    config: Arc<ClientConfig>,
}

static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());

async fn client_config(
    settings: &TlsSettings,
    protocols: &'static [&'static [u8]],
) -> Result<Arc<ClientConfig>, String> {
    let (trust, client) = (settings.trust.clone(), settings.client.clone());
    {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|made| made.at.elapsed() < FRESH);
        let same = |made: &&Made| made.trust == trust && made.client == client && made.protocols == protocols;
        if let Some(made) = made.iter().find(same) {
            return Ok(Arc::clone(&made.config));
        }
    }
    let build = move || {
        let config = Arc::new(build(&trust, client.as_ref(), protocols)?);
        let made = Made {
            trust,
            client,
            protocols,
            at: Instant::now(),
            config: Arc::clone(&config),
        };
        MADE.lock().unwrap_or_else(PoisonError::into_inner).push(made);
        Ok(config)
    };
    tokio::task::spawn_blocking(build)
        .await
        .map_err(|error| error.to_string())?
}

fn build(
    trust: &Trust,
    client: Option<&(std::path::PathBuf, std::path::PathBuf)>,
    protocols: &[&[u8]],
) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    let builder = match trust {
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this host has no certificate authorities (install ca-certificates, or give ca_file)".into(),
                );
            }
            builder.with_root_certificates(roots)
        }
        Trust::File(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("{} has a certificate that cannot be used: {error}", path.display()))?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let bytes = read(key)?;
            let parsed = PrivateKeyDer::from_pem_slice(&bytes);
            let parsed = parsed.map_err(|error| format!("{} is no private key: {error}", key.display()))?;
            let made = builder.with_client_auth_cert(certificates(certificate)?, parsed);
            made.map_err(|error| format!("{} and its key do not fit: {error}", certificate.display()))?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Every probe is a full handshake: a resumed one says nothing about the certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(format!("{} has no certificate in it", path.display())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{} is no PEM file: {error}", path.display())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Takes every certificate, and still holds the server to have its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
