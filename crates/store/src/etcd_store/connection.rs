//! The connection to a cluster of etcd: one node at a time, and the next one when it does not answer.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Request, Status};
use tonic_prost::ProstCodec;

use super::messages::{
    AuthenticateRequest, AuthenticateResponse, RangeRequest, RangeResponse, TransactionRequest, TransactionResponse,
};
use crate::StoreError;

const RANGE: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Range");
const TRANSACTION: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Txn");
const AUTHENTICATE: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");

/// The pause before another node is asked.
const PAUSE: Duration = Duration::from_millis(50);
/// etcd closes connections that ping more than once in five seconds.
const PING: Duration = Duration::from_secs(10);
/// A batch of the largest values.
const LONGEST_ANSWER: usize = 16 << 20;

/// A name and password, and the token that the cluster gave for them.
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
    token: RwLock<Option<MetadataValue<Ascii>>>,
}

impl User {
    pub(super) fn new(name: String, password: String) -> Self {
        Self { name, password, token: RwLock::default() }
    }
}

#[derive(Clone)]
pub(super) struct Connection {
    nodes: Arc<[Channel]>,
    /// The node that answered last.
    current: Arc<AtomicUsize>,
    user: Option<Arc<User>>,
    timeout: Duration,
}

/// The condition for another attempt after an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// Any call is sent again, since a second time does no harm.
    Always,
    /// Only if nothing has reached a node.
    Unsent,
}

impl Connection {
    pub(super) fn new(endpoints: Vec<Endpoint>, user: Option<User>, timeout: Duration) -> Self {
        let connect = |endpoint: Endpoint| {
            let endpoint = endpoint.connect_timeout(timeout).tcp_nodelay(true).http2_keep_alive_interval(PING);
            endpoint.keep_alive_timeout(timeout).connect_lazy()
        };
        let nodes = endpoints.into_iter().map(connect).collect();
        Self { nodes, current: Arc::default(), user: user.map(Arc::new), timeout }
    }

    /// Reads; a node that does not answer is not the last to be asked.
    pub(super) async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
        self.call(&RANGE, request, Retry::Always).await
    }

    /// Reads several keys.
    pub(super) async fn read(&self, request: &TransactionRequest) -> Result<TransactionResponse, StoreError> {
        self.call(&TRANSACTION, request, Retry::Always).await
    }

    /// Writes. If nobody knows whether a node has done so, it is not tried again: the second time would find the first
    /// one's changes, and take them for another's.
    pub(super) async fn write(&self, request: &TransactionRequest) -> Result<TransactionResponse, StoreError> {
        self.call(&TRANSACTION, request, Retry::Unsent).await
    }

    async fn call<I, O>(&self, path: &PathAndQuery, request: &I, retry: Retry) -> Result<O, StoreError>
    where
        I: Message + Clone + 'static,
        O: Message + Default + 'static,
    {
        let deadline = Instant::now() + self.timeout;
        let share = self.timeout / u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let mut has_authenticated = false;
        loop {
            let node = self.current.load(Ordering::Relaxed) % self.nodes.len();
            // A read leaves the other nodes some of the time.
            let patience = if retry == Retry::Always { deadline.min(Instant::now() + share) } else { deadline };
            let outcome =
                timeout_at(patience, self.try_once(node, path, request.clone(), &mut has_authenticated)).await;
            let (error, may_repeat) = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) if is_too_large(&status) => return Err(too_large(&status, request.encoded_len())),
                Ok(Err(status)) if is_refusal(&status) => return Err(failed(&status)),
                Ok(Err(status)) => (failed(&status), retry == Retry::Always || is_unsent(&status)),
                Err(_) => (StoreError::Timeout, retry == Retry::Always),
            };
            let next = (node + 1) % self.nodes.len();
            // If another call has found a better node meanwhile, that one stays.
            let _ = self.current.compare_exchange(node, next, Ordering::Relaxed, Ordering::Relaxed);
            if !may_repeat || Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_once<I, O>(
        &self,
        node: usize,
        path: &PathAndQuery,
        request: I,
        has_authenticated: &mut bool,
    ) -> Result<O, Status>
    where
        I: Message + Clone + 'static,
        O: Message + Default + 'static,
    {
        let Some(user) = &self.user else { return unary(&self.nodes[node], path, request, None).await };
        let token = user.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        let outcome = match token {
            Some(token) => unary(&self.nodes[node], path, request.clone(), Some(token)).await,
            None => Err(Status::unauthenticated("no token yet")),
        };
        match outcome {
            // Tokens expire, and a restarted node may not know them. Nothing was done.
            Err(status) if status.code() == Code::Unauthenticated && !*has_authenticated => {
                let credentials = AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
                let answer: AuthenticateResponse = unary(&self.nodes[node], &AUTHENTICATE, credentials, None).await?;
                *has_authenticated = true;
                let token = MetadataValue::try_from(answer.token).map_err(|_| Status::internal("a malformed token"))?;
                *user.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
                unary(&self.nodes[node], path, request, Some(token)).await
            }
            outcome => outcome,
        }
    }
}

async fn unary<I, O>(
    node: &Channel,
    path: &PathAndQuery,
    request: I,
    token: Option<MetadataValue<Ascii>>,
) -> Result<O, Status>
where
    I: Message + 'static,
    O: Message + Default + 'static,
{
    let mut client = Grpc::new(node.clone()).max_decoding_message_size(LONGEST_ANSWER);
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(request);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token);
    }
    Ok(client.unary(request, path.clone(), ProstCodec::<I, O>::default()).await?.into_inner())
}

/// Returns `true` if no connection was made.
fn is_unsent(status: &Status) -> bool {
    let mut causes = status.source();
    while let Some(cause) = causes {
        if cause.is::<ConnectError>() {
            return true;
        }
        causes = cause.source();
    }
    false
}

/// Returns `true` if another node would answer the same.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Unimplemented
            | Code::OutOfRange
    )
}

/// Returns `true` if the request, or the answer to it, is longer than etcd or its connection allows.
fn is_too_large(status: &Status) -> bool {
    let says = |text| status.message().contains(text);
    says("request is too large") || says("message larger than max")
}

fn too_large(status: &Status, length: usize) -> StoreError {
    let said = status.message();
    StoreError::rejected(format!(
        "a request of {length} bytes is over etcd's --max-request-bytes (1.5 MiB by default): {said}"
    ))
}

/// The messages of etcd hold no keys and no values.
fn failed(status: &Status) -> StoreError {
    let mut text = format!("etcd: {} ({:?})", status.message(), status.code());
    let mut causes = status.source();
    while let Some(cause) = causes {
        text = format!("{text}: {cause}");
        causes = cause.source();
    }
    if status.message().contains("database space exceeded") {
        text.push_str(": compact and defragment it, then disarm its alarm");
    }
    match status.code() {
        Code::DeadlineExceeded => StoreError::Timeout,
        Code::ResourceExhausted => StoreError::unavailable(text),
        _ if is_refusal(status) => StoreError::rejected(text),
        _ => StoreError::unavailable(text),
    }
}
