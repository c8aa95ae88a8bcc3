//! TLS to each server: one whose certificate is of the authority that the application trusts, and of another one.
#![cfg(all(feature = "postgres", feature = "mysql", feature = "tls-rustls", feature = "redis-rustls"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use redis::cluster::ClusterClientBuilder;
use redis::{Client, TlsCertificates};
use secure_sessions_store::{
    Bucket, RedisOptions, RedisStore, SessionId, SessionStore, SqlOptions, SqlStore, StoreError,
};
use services::{Cluster, Engine, Service, Setup, or_skip};

use crate::common::{are_found_again, now, session};

mod common;

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
    // OpenSSL takes a certificate for self-signed whose names are the same.
    parameters.distinguished_name.push(DnType::CommonName, "authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(parameters, key))
}

/// A server with a certificate.
fn setup(engine: Engine, certificates: &Certificates, arguments: &[&str]) -> Setup {
    let setup = Setup::new(engine).arguments(arguments.iter().copied());
    setup.file("server.crt", &certificates.server).file("server.key", &certificates.key)
}

fn started(engine: Engine, certificates: &Certificates, arguments: &[&str]) -> Option<Service> {
    or_skip(setup(engine, certificates, arguments).start())
}

/// The authority's certificate as a file, beside the server's.
fn file(service: &Service, name: &str, certificate: &str) -> String {
    let path: PathBuf = service.directory().join(name);
    std::fs::write(&path, certificate).unwrap();
    path.display().to_string()
}

fn bucket() -> Bucket {
    session([5; 16], now())
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

/// The store asks on a connection of its own, which speaks no TLS, whether a node runs that a connection to broke.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_is_found_again_after_its_connections_broke() {
    let certificates = Certificates::new();
    let mut urls = Vec::new();
    let node = || {
        let port = services::free_port()?.to_string();
        urls.push(format!("rediss://127.0.0.1:{port}"));
        let arguments = [
            ["--tls-port", &port],
            ["--tls-cluster", "yes"],
            ["--tls-cert-file", "../server.crt"],
            ["--tls-key-file", "../server.key"],
            ["--tls-ca-cert-file", "../trusted.crt"],
            ["--tls-auth-clients", "no"],
        ];
        Ok(setup(Engine::Redis, &certificates, arguments.as_flattened()).file("trusted.crt", &certificates.trusted))
    };
    let Some(cluster) = or_skip(Cluster::start_each(node)) else { return };
    let trusted = TlsCertificates { client_tls: None, root_cert: Some(certificates.trusted.clone().into_bytes()) };
    let store = RedisOptions::new().cluster(ClusterClientBuilder::new(urls).certs(trusted)).await.unwrap();
    let sessions: Vec<Bucket> = (1..=30).map(|id| Bucket { id: SessionId::from_bytes([id; 16]), ..bucket() }).collect();
    for session in &sessions {
        store.insert(session).await.unwrap();
    }
    for node in cluster.nodes() {
        node.redis_call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    }
    are_found_again(&store, &sessions).await;
    // One that hangs is still told from one that runs.
    let node = &cluster.nodes()[0];
    node.redis_call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    node.pause().unwrap();
    let start = Instant::now();
    let is_refused = async || {
        for session in &sessions {
            if let Err(error) = store.load(&session.id).await
                && format!("{error:?}").contains("does not answer")
            {
                return true;
            }
        }
        false
    };
    while !is_refused().await {
        assert!(start.elapsed() < Duration::from_secs(30), "commands for it still wait");
    }
    node.resume().unwrap();
    let start = Instant::now();
    while store.count().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "it is not found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
