//! HTTPS in front of a plain server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64_simd::STANDARD;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A listener of 127.0.0.1 that takes TLS off each connection and hands it on. It closes when this is dropped.
pub struct Front {
    port: u16,
    key_hash: String,
    serving: JoinHandle<()>,
}

impl Front {
    /// Listens on a port of 127.0.0.1 (0: any that is free) with a certificate of its own, and hands what comes to
    /// `backend`.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the port is taken, or the certificate cannot be made.
    pub async fn start(port: u16, backend: SocketAddr) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        // Browsers that trust the key do not look at the names.
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
        let certificate = parameters.self_signed(&key).map_err(io::Error::other)?.der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], private);
        let acceptor = TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        let key_hash = STANDARD.encode_to_string(Sha256::digest(key.subject_public_key_info()));
        Ok(Self { port, key_hash, serving: tokio::spawn(accept(listener, acceptor, backend)) })
    }

    /// Returns the origin of a site: `https://NAME:PORT`.
    #[must_use]
    pub fn origin(&self, name: &str) -> String {
        format!("https://{name}:{}", self.port)
    }

    /// Returns the arguments with which Chromium trusts this front's key, and binds sessions to keys in software: most
    /// machines of developers and tests have no TPM.
    ///
    /// With `--ignore-certificate-errors`, or over plain http, Chromium would bind nothing.
    #[must_use]
    pub fn chromium_arguments(&self) -> [String; 2] {
        [
            "--enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"
                .to_owned(),
            format!("--ignore-certificate-errors-spki-list={}", self.key_hash),
        ]
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, backend: SocketAddr) {
    while let Ok((visitor, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        // A browser opens connections that it then does not use, and closes others without a word.
        tokio::spawn(async move {
            let mut visitor = acceptor.accept(visitor).await?;
            let mut server = TcpStream::connect(backend).await?;
            tokio::io::copy_bidirectional(&mut visitor, &mut server).await
        });
    }
}
