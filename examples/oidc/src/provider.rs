//! The identity provider, as the application sees it: where its endpoints are, what its keys are, and how it is asked.

use std::error::Error;
use std::pin::Pin;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::core::{CoreClient, CoreProviderMetadata};
use openidconnect::{
    AsyncHttpClient, ClientId, ClientSecret, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IssuerUrl, RedirectUrl,
};

/// Any error, since all of them end a login in the same way: the log has the reason.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// The client of the provider's endpoints, once the provider has said where they are.
pub(crate) type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// An answer of the provider that is longer is refused.
const MOST: usize = 1024 * 1024;

/// The settings that you agreed with the provider when you registered the application.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: IssuerUrl,
    pub(crate) client_id: ClientId,
    pub(crate) client_secret: ClientSecret,
    pub(crate) redirect_url: RedirectUrl,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Provider {
    pub(crate) fn new(
        issuer: IssuerUrl,
        client_id: ClientId,
        client_secret: ClientSecret,
        redirect_url: RedirectUrl,
    ) -> Result<Self, AnyError> {
        // Plain http is for a provider on this machine. This client follows no redirects, which a provider could use to
        // send it to a server inside of your network.
        let connector = HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let http = HttpClient::builder(TokioExecutor::new()).build(connector);
        Ok(Self { issuer, client_id, client_secret, redirect_url, http })
    }

    /// Asks the provider for its endpoints and keys. This example does so for each login, so that a key that the
    /// provider has changed counts at once. With many logins, keep the client for some minutes.
    pub(crate) async fn client(&self) -> Result<Client, AnyError> {
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), self).await?;
        let client =
            CoreClient::from_provider_metadata(metadata, self.client_id.clone(), Some(self.client_secret.clone()));
        Ok(client.set_redirect_uri(self.redirect_url.clone()))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.http.request(request.map(|body| Full::new(Bytes::from(body)))).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MOST).collect().await.map_err(HttpError::Body)?;
        Ok(HttpResponse::from_parts(parts, body.to_bytes().into()))
    }
}

/// Lets the crate `openidconnect` send its requests with this client.
impl<'c> AsyncHttpClient<'c> for Provider {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// The provider did not answer, or not to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the provider cannot be reached: {0}")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the provider's answer broke off: {0}")]
    Body(AnyError),
}
