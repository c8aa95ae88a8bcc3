//! The identity provider, as the application sees it: where its endpoints are, what its keys are, and how it is asked.

mod keys;

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, ClientId, ClientSecret, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IdTokenFields, IssuerUrl, LogoutRequest, PostLogoutRedirectUrl,
    ProviderMetadataWithLogout, RedirectUrl, StandardErrorResponse, StandardTokenResponse,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use self::keys::Keys;

pub(crate) use self::keys::{KEYS_LAST, KEYS_REST};

/// Any error, since all of them end a login in the same way: the log has the reason.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// The claims of an ID token beside the standard ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InSession {
    /// The provider's session that the user has logged in with, if the provider can end it by itself.
    pub(crate) sid: Option<String>,
}

impl AdditionalClaims for InSession {}

pub(crate) type IdToken =
    openidconnect::IdToken<InSession, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;

/// The token endpoint's answer: that of `openidconnect::core`, but for the claims of the ID token.
pub(crate) type TokenAnswer = StandardTokenResponse<
    IdTokenFields<
        InSession,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// The client of the provider's endpoints, once the provider has said where they are.
pub(crate) type Client = openidconnect::Client<
    InSession,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// An answer of the provider that is longer is refused.
const MOST: usize = 1024 * 1024;
/// A longer ID token does not go into an address: many servers refuse a request line of more than 8 kB.
const LONGEST_HINT: usize = 4096;
/// A provider that does not answer for so long counts as down.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings that you agreed with the provider when you registered the application.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: IssuerUrl,
    pub(crate) client_id: ClientId,
    pub(crate) client_secret: ClientSecret,
    pub(crate) redirect_url: RedirectUrl,
    /// The page that the browser comes back to after a logout at the provider.
    pub(crate) home: PostLogoutRedirectUrl,
    /// The time in which the provider must answer.
    pub(crate) patience: Duration,
    keys: Keys,
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
        let home = PostLogoutRedirectUrl::from_url(redirect_url.url().join("/")?);
        let (patience, keys) = (PATIENCE, Keys::default());
        Ok(Self { issuer, client_id, client_secret, redirect_url, home, patience, keys, http })
    }

    /// Asks the provider for its endpoints and keys. This example does so for each login, so that a key that the
    /// provider has changed counts at once. With many logins, keep the client for some minutes.
    pub(crate) async fn client(&self) -> Result<Client, AnyError> {
        let client = Client::from_provider_metadata(
            self.metadata().await?,
            self.client_id.clone(),
            Some(self.client_secret.clone()),
        );
        Ok(client.set_redirect_uri(self.redirect_url.clone()))
    }

    async fn metadata(&self) -> Result<ProviderMetadataWithLogout, AnyError> {
        Ok(ProviderMetadataWithLogout::discover_async(self.issuer.clone(), self).await?)
    }

    /// Returns the address that logs the browser's user out at the provider, or `None` if the provider has none.
    /// Without the hint, most providers ask the user first.
    pub(crate) async fn logout_url(&self, hint: &IdToken) -> Result<Option<String>, AnyError> {
        let metadata = self.metadata().await?;
        let Some(url) = metadata.additional_metadata().end_session_endpoint.clone() else {
            return Ok(None);
        };
        let mut request = LogoutRequest::from(url)
            .set_client_id(self.client_id.clone())
            .set_post_logout_redirect_uri(self.home.clone());
        if hint.to_string().len() <= LONGEST_HINT {
            request = request.set_id_token_hint(hint);
        }
        Ok(Some(request.http_get_url().to_string()))
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
        Box::pin(async {
            let answer = timeout(self.patience, self.send(request)).await;
            answer.unwrap_or(Err(HttpError::Silent(self.patience)))
        })
    }
}

/// The provider did not answer, or not to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("the provider cannot be reached: {0}")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the provider's answer broke off: {0}")]
    Body(AnyError),
    #[error("the provider did not answer within {} seconds", .0.as_secs())]
    Silent(Duration),
}
