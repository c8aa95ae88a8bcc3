//! A proxy in front of the emulator that loses answers, and gives DynamoDB's own where the emulator has none.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The fault that a call meets.
pub(crate) enum Fault {
    /// It reaches the server, and its answer is lost.
    LoseAnswer,
    /// The same; the test is told when the server has answered, and says when the connection breaks.
    LoseAnswerLater { answered: oneshot::Sender<()>, go_on: oneshot::Receiver<()> },
    /// It does not reach the server, and is answered by this status and JSON.
    Answer(u16, String),
    /// It does not reach the server, and is answered as a batch for which DynamoDB has no time.
    Unprocessed,
}

/// An error as DynamoDB writes it.
pub(crate) fn error(status: u16, code: &str, rest: &str) -> Fault {
    Fault::Answer(
        status,
        format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"planted"{rest}}}"#),
    )
}

type Plan = Arc<Mutex<VecDeque<(&'static str, Fault)>>>;

pub(crate) struct Proxy {
    url: String,
    plan: Plan,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let plan = Plan::default();
        let (server, of_task) = (server.trim_start_matches("http://").to_owned(), Arc::clone(&plan));
        let task = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                // The client leaves, or a fault ends its connection.
                tokio::spawn(serve(client, server.clone(), Arc::clone(&of_task)));
            }
        });
        Self { url, plan, task }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Plans a fault for the next call of this operation that has none yet.
    pub(crate) fn plan(&self, operation: &'static str, fault: Fault) {
        self.plan.lock().unwrap().push_back((operation, fault));
    }

    /// Returns the number of planned faults that have not happened.
    pub(crate) fn planned(&self) -> usize {
        self.plan.lock().unwrap().len()
    }

    pub(crate) fn forget_plan(&self) {
        self.plan.lock().unwrap().clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, server: String, plan: Plan) -> io::Result<()> {
    loop {
        let (head, body) = message(&mut client).await?;
        let fault = {
            let mut plan = plan.lock().unwrap();
            let fits = |(operation, _): &(&str, Fault)| head.contains(&format!("DynamoDB_20120810.{operation}\r\n"));
            plan.iter().position(fits).and_then(|at| plan.remove(at))
        };
        let answer = match fault.map(|(_, fault)| fault) {
            Some(Fault::Answer(status, json)) => written(status, &json),
            Some(Fault::Unprocessed) => {
                let body = String::from_utf8(body).unwrap();
                written(200, &body.replacen("{\"RequestItems\":", "{\"Responses\":{},\"UnprocessedKeys\":", 1))
            }
            None => forwarded(&server, &head, &body).await?,
            Some(Fault::LoseAnswer) => {
                forwarded(&server, &head, &body).await?;
                return Ok(());
            }
            Some(Fault::LoseAnswerLater { answered, go_on }) => {
                forwarded(&server, &head, &body).await?;
                answered.send(()).unwrap();
                go_on.await.unwrap();
                return Ok(());
            }
        };
        client.write_all(&answer).await?;
    }
}

fn written(status: u16, json: &str) -> Vec<u8> {
    let length = json.len();
    let head = format!("HTTP/1.1 {status} Planted\r\nContent-Type: application/x-amz-json-1.0\r\n");
    format!("{head}Content-Length: {length}\r\n\r\n{json}").into_bytes()
}

async fn forwarded(server: &str, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(server).await?;
    server.write_all(head.as_bytes()).await?;
    server.write_all(body).await?;
    let (head, body) = message(&mut server).await?;
    Ok([head.as_bytes(), &body].concat())
}

/// Reads the head and the body of a request or an answer.
async fn message(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.unwrap().1.trim().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((head, body))
}
