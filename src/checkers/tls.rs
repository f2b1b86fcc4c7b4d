//! TLS for all probes that use it: whom to trust, the handshake, and the days that a certificate has left.
//!
//! Settings are read from files when they are first needed and again after a minute, so that a renewed file counts
//! without a reload and a thousand probes a second read it once.

pub(super) mod cause;

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode;

use super::attempt::Attempt;
use super::{Findings, Verdict, fault, tcp};
use crate::model::{LocalTrouble, ProbeOutcome, ProbeWarning, Stage, TalkStep, TlsProbe, TlsSettings, Trust};

/// How long settings made from files hold.
const FRESH: Duration = Duration::from_secs(60);
/// How long a server may take to say that it does not like this host's certificate.
const OBJECTION: Duration = Duration::from_secs(1);
/// The most that is read of a certificate or key file.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

pub(super) async fn probe(attempt: &Attempt<'_>, probe: &TlsProbe) -> Verdict {
    let stream = attempt.connect().await?;
    let made = client_config(&probe.tls, &[]).await?;
    let config = ClientConfig::clone(&made.config);
    let (mut stream, warning, certificate_wanted) = shake(attempt, stream, &probe.tls, config).await?;
    tcp::talk(attempt, &mut stream, &probe.steps).await?;
    let answers = |step: &TalkStep| matches!(step, TalkStep::Expect(_) | TalkStep::ExpectMatch(_));
    if certificate_wanted && !probe.steps.iter().any(answers) {
        hear_objection(&mut stream, attempt.deadline()).await?;
    }
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
    let made = client_config(settings, protocols).await?;
    let (stream, warning, _) = shake(attempt, stream, settings, ClientConfig::clone(&made.config)).await?;
    Ok((stream, warning))
}

/// The same, and where the server's certificate is not good, what is wrong with it beside a connection to which nothing
/// secret may be given: for servers that take it ill when somebody leaves in the middle of a handshake.
pub(super) async fn handshake_to_its_end<S>(
    attempt: &Attempt<'_>,
    stream: S,
    settings: &TlsSettings,
) -> Result<(TlsStream<S>, Option<ProbeWarning>, Option<ProbeOutcome>), ProbeOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let made = client_config(settings, &[]).await?;
    let mut config = ClientConfig::clone(&made.config);
    let patient = Arc::new(Patient {
        strict: Arc::clone(&made.verifier),
        objection: Mutex::new(None),
    });
    config
        .dangerous()
        .set_certificate_verifier(Arc::clone(&patient) as Arc<dyn ServerCertVerifier>);
    let (stream, warning, _) = shake(attempt, stream, settings, config).await?;
    let objection = patient.objection.lock().unwrap_or_else(PoisonError::into_inner).take();
    let objection = objection.map(|error| ProbeOutcome::Failure(cause::of(&error, false)));
    Ok((stream, warning, objection))
}

/// Shakes hands; the last value is whether the server has asked for a certificate of this host.
async fn shake<S>(
    attempt: &Attempt<'_>,
    stream: S,
    settings: &TlsSettings,
    mut config: ClientConfig,
) -> Result<(TlsStream<S>, Option<ProbeWarning>, bool), ProbeOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = match &settings.server_name {
        Some(name) => ServerName::try_from(name.clone()).map_err(|_| trouble(format!("`{name}` is no server name")))?,
        None => ServerName::from(attempt.target().ip()),
    };
    let identity = Arc::new(Identity {
        resolver: Arc::clone(&config.client_auth_cert_resolver),
        wanted: AtomicBool::new(false),
    });
    config.client_auth_cert_resolver = Arc::clone(&identity) as Arc<dyn ResolvesClientCert>;
    attempt.await_stage(Stage::TlsHandshake);
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let wanted = identity.wanted.load(Ordering::Relaxed);
    let stream = shaken.map_err(|error| match cause::within(&error) {
        Some(tls) => ProbeOutcome::Failure(cause::of(tls, wanted && settings.client.is_none())),
        None => fault::of_stream(&error, Stage::TlsHandshake),
    })?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let warning = certificate.and_then(|certificate| expiry(certificate, settings.expiry_warning));
    Ok((stream, warning, wanted))
}

/// Waits for what a server says about the certificate of this host that it has asked for: in TLS 1.3 that comes after
/// the handshake, and who leaves at once never hears it. A server that says nothing for a while is content.
async fn hear_objection<S>(stream: &mut TlsStream<S>, deadline: Instant) -> Result<(), ProbeOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let left = deadline.saturating_duration_since(Instant::now());
    let heard = async {
        stream.shutdown().await?;
        let mut nothing = [0; 64];
        while stream.read(&mut nothing).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    match tokio::time::timeout(OBJECTION.min(left / 2), heard).await {
        Ok(Err(error)) if cause::within(&error).is_some() => Err(fault::of_stream(&error, Stage::TlsHandshake)),
        Ok(Ok(()) | Err(_)) | Err(_) => Ok(()),
    }
}

fn trouble(why: String) -> ProbeOutcome {
    ProbeOutcome::Local(LocalTrouble::Setup(why.into()))
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
    verifier: Arc<dyn ServerCertVerifier>,
}

static MADE: Mutex<Vec<Arc<Made>>> = Mutex::new(Vec::new());

async fn client_config(settings: &TlsSettings, protocols: &'static [&'static [u8]]) -> Result<Arc<Made>, ProbeOutcome> {
    let (trust, client) = (settings.trust.clone(), settings.client.clone());
    {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|made| made.at.elapsed() < FRESH);
        let same = |made: &&Arc<Made>| made.trust == trust && made.client == client && made.protocols == protocols;
        if let Some(made) = made.iter().find(same) {
            return Ok(Arc::clone(made));
        }
    }
    let build = move || {
        let (config, verifier) = build(&trust, client.as_ref(), protocols)?;
        let made = Arc::new(Made {
            trust,
            client,
            protocols,
            at: Instant::now(),
            config: Arc::new(config),
            verifier,
        });
        let mut all = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&made));
        Ok(made)
    };
    match tokio::task::spawn_blocking(build).await {
        Ok(built) => built.map_err(trouble),
        Err(error) => Err(trouble(error.to_string())),
    }
}

/// What a client needs that trusts so, for whoever uses TLS elsewhere than a probe does.
///
/// # Errors
/// Why there is nobody to trust, in words.
pub(crate) async fn tls_towards(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let trust = trust.clone();
    let built = tokio::task::spawn_blocking(move || build(&trust, None, &[b"http/1.1"])).await;
    let (config, _) = built.map_err(|error| error.to_string())??;
    Ok(Arc::new(config))
}

fn build(
    trust: &Trust,
    client: Option<&(std::path::PathBuf, std::path::PathBuf)>,
    protocols: &[&[u8]],
) -> Result<(ClientConfig, Arc<dyn ServerCertVerifier>), String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anybody => Arc::new(Anybody(provider)),
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this host has no certificate authorities (install ca-certificates, or give ca_file)".into(),
                );
            }
            by_authorities(roots, provider)?
        }
        Trust::File(path) => {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("{} has a certificate that cannot be used: {error}", path.display()))?;
            }
            by_authorities(roots, provider)?
        }
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier));
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
    Ok((config, verifier))
}

fn by_authorities(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(built.map_err(|error| error.to_string())?)
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

/// Shows this host's certificate where there is one, and notes that the server has asked for it.
#[derive(Debug)]
struct Identity {
    resolver: Arc<dyn ResolvesClientCert>,
    wanted: AtomicBool,
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.wanted.store(true, Ordering::Relaxed);
        self.resolver.resolve(authorities, schemes)
    }

    // A client that says it has none is not asked whether the server wants one.
    fn has_certs(&self) -> bool {
        true
    }
}

/// Lets a handshake come to its end, and keeps what there is to say against the certificate.
#[derive(Debug)]
struct Patient {
    strict: Arc<dyn ServerCertVerifier>,
    objection: Mutex<Option<Error>>,
}

impl ServerCertVerifier for Patient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Err(error) = self.strict.verify_server_cert(certificate, chain, name, stapled, now) {
            *self.objection.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
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
