//! TLS to each server: one whose certificate is of the authority that the application trusts, and of another one.
#![cfg(all(feature = "postgres", feature = "mysql", feature = "tls-rustls", feature = "redis-rustls"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use redis::{Client, TlsCertificates};
use secure_sessions_store::{
    Bucket, Fingerprint, Millis, RedisOptions, RedisStore, Revision, SessionId, SessionStore, SqlOptions, SqlStore,
    StoreError, Timestamp,
};
use services::{Engine, Error, Service, Setup};

/// Two authorities, and a server's certificate by the first of them.
struct Certificates {
    trusted: String,
    other: String,
    server: String,
    key: String,
}

impl Certificates {
    fn new() -> Self {
        let (trusted, issuer) = authority();
        let (other, _) = authority();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { trusted, other, server: server.pem(), key: key.serialize_pem() }
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(parameters, key))
}

/// A server with a certificate; `None`, and said so, where the machine does not have it (which is no excuse in CI).
fn started(engine: Engine, certificates: &Certificates, arguments: &[&str]) -> Option<Service> {
    let setup = Setup::new(engine).arguments(arguments.iter().copied());
    let setup = setup.file("server.crt", &certificates.server).file("server.key", &certificates.key);
    match setup.start() {
        Ok(service) => Some(service),
        Err(missing @ Error::Missing { .. }) if std::env::var("CI").as_deref() != Ok("true") => {
            eprintln!("SKIPPED {}: {missing}", engine.name());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The authority's certificate as a file, beside the server's.
fn file(service: &Service, name: &str, certificate: &str) -> String {
    let path: PathBuf = service.directory().join(name);
    std::fs::write(&path, certificate).unwrap();
    path.display().to_string()
}

fn bucket() -> Bucket {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap());
    Bucket {
        id: SessionId::from_bytes([5; 16]),
        revision: Revision::FIRST,
        subject: None,
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at.after(Millis::from_secs(28_800)),
        idle_timeout: None,
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes([3; 16]),
        retired: Vec::new(),
        evicted: None,
        handoff: None,
    }
}

async fn works(store: &impl SessionStore) {
    store.insert(&bucket()).await.unwrap();
    assert!(store.load(&bucket().id).await.unwrap().is_some());
}

/// At once, and not when a timeout has passed. (What it says depends on the driver.)
fn assert_refused<T>(outcome: Result<T, StoreError>) {
    match outcome {
        Err(StoreError::Timeout) => panic!("it was tried until the timeout"),
        Err(_) => {}
        Ok(_) => panic!("it took the certificate of a stranger"),
    }
}

async fn sql(url: &str) -> Result<SqlStore, StoreError> {
    SqlOptions::new().timeout(Duration::from_secs(30)).connect(url).await
}

#[tokio::test]
async fn postgres_over_tls_works_only_with_a_trusted_authority_s_certificate() {
    let certificates = Certificates::new();
    let arguments = ["-c", "ssl=on", "-c", "ssl_cert_file=../server.crt", "-c", "ssl_key_file=../server.key"];
    let Some(service) = started(Engine::Postgres, &certificates, &arguments) else { return };
    let url = |authority: &str| format!("{}?sslmode=verify-full&sslrootcert={authority}", service.url());

    let store = sql(&url(&file(&service, "trusted.crt", &certificates.trusted))).await.unwrap();
    works(&store).await;
    assert_refused(sql(&url(&file(&service, "other.crt", &certificates.other))).await);
}

#[tokio::test]
async fn postgres_without_tls_is_refused_where_the_url_asks_for_it() {
    let certificates = Certificates::new();
    let Some(service) = started(Engine::Postgres, &certificates, &[]) else { return };
    assert_refused(sql(&format!("{}?sslmode=require", service.url())).await);
}

#[tokio::test]
async fn mariadb_over_tls_works_only_with_a_trusted_authority_s_certificate() {
    let certificates = Certificates::new();
    let arguments = ["--ssl-cert=../server.crt", "--ssl-key=../server.key", "--require-secure-transport=ON"];
    let Some(service) = started(Engine::MariaDb, &certificates, &arguments) else { return };
    let url = |authority: &str| format!("{}?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}", service.url());

    let store = sql(&url(&file(&service, "trusted.crt", &certificates.trusted))).await.unwrap();
    works(&store).await;
    assert_refused(sql(&url(&file(&service, "other.crt", &certificates.other))).await);
    assert_refused(sql(&format!("{}?ssl-mode=DISABLED", service.url())).await);
}

#[tokio::test]
async fn redis_over_tls_works_only_with_a_trusted_authority_s_certificate() {
    let certificates = Certificates::new();
    let port = services::free_port().unwrap().to_string();
    let arguments = [
        ["--tls-port", &port],
        ["--tls-cert-file", "../server.crt"],
        ["--tls-key-file", "../server.key"],
        ["--tls-auth-clients", "no"],
    ];
    let Some(_service) = started(Engine::Redis, &certificates, arguments.as_flattened()) else { return };
    let open = async |authority: Option<&String>| -> Result<RedisStore, StoreError> {
        let url = format!("rediss://127.0.0.1:{port}/");
        let options = RedisOptions::new().timeout(Duration::from_secs(30));
        let Some(authority) = authority else { return options.connect(&url).await };
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(authority.clone().into_bytes()) };
        options.client(Client::build_with_tls(url, certificates).unwrap()).await
    };

    works(&open(Some(&certificates.trusted)).await.unwrap()).await;
    assert_refused(open(Some(&certificates.other)).await);
    // The system's authorities do not know it either.
    assert_refused(open(None).await);
}
