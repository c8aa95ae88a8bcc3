//! Waiting for a replica: a failover to it loses no write that it has.
//!
//! Redis acknowledges a write before its replicas have it. `WAIT` blocks its whole connection until a replica has all writes
//! that were sent on it before, so it has a connection of its own, and the writes that it is for are sent there too: one
//! connection is one server, and no failover can lie in between.
//!
//! The writes to one server take turns: those that come while a `WAIT` is under way are sent together after it, with one
//! `WAIT` for all. So a burst at a server whose replica hangs waits once, and not once for each.
//!
//! A script that finds nothing to do writes nothing, and a `WAIT` on a connection without writes waits for nothing (since
//! Valkey 8.1). But another connection may have done the same just before, and lost the answer. So each `WAIT` follows a small
//! write of its own: replicas get all writes of a server in one order.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value, cmd};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::error::Server;
use super::single::is_replica;
use crate::StoreError;

/// The longest wait for a replica.
const LONGEST_WAIT: Duration = Duration::from_millis(750);
/// The time after a wait in vain in which no write to that server waits: a replica that hangs must not hold up all for long.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// The writes that wait for a replica, and the outcome if none answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Policy {
    /// Every write waits, not only endings and renewals.
    pub(super) updates: bool,
    /// A write that no replica has is an error.
    pub(super) required: bool,
}

/// The furthest place that a write has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The server has it. It has no replica, or the write does not wait.
    Server,
    /// A replica has it.
    Replica,
    /// The server has it, and no replica acknowledged it in time.
    NoReplica,
}

/// A write that a server has carried out.
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) reached: Reached,
    /// Set to `true` if it was sent twice, and may have been carried out the first time.
    pub(super) is_second: bool,
}

impl Written {
    pub(super) fn once(value: Value, reached: Reached) -> Self {
        Self { value, reached, is_second: false }
    }
}

/// An error of a write that waits.
pub(super) struct Failure {
    pub(super) error: RedisError,
    /// The fate of the write, as far as it is known.
    pub(super) fate: Fate,
}

/// The fate of a write that failed, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The error tells.
    Told,
    /// It may have been carried out, whatever the error says.
    Unknown,
    /// The server had it, and nobody knows how far it has come since.
    Done,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self { error, fate: Fate::Told }
    }
}

/// The settings of waiting, and the count of writes that waited in vain.
pub(super) struct Replicas {
    policy: Policy,
    server: Server,
    longest: Duration,
    /// The longest time for one batch of writes, with its wait.
    limit: Duration,
    /// The number of writes that waited in vain.
    missed: AtomicU64,
}

impl Replicas {
    pub(super) fn new(policy: Policy, server: Server, limit: Duration) -> Self {
        // A write may have to wait for the one before it, and then itself.
        Self { policy, server, longest: LONGEST_WAIT.min(limit / 4), limit, missed: AtomicU64::new(0) }
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    pub(super) fn longest_wait(&self) -> Duration {
        self.longest
    }

    /// Returns the number of writes that no replica had acknowledged in time.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Returns how far a write has come that does not wait, because its server has no replica.
    pub(super) fn reached_alone(&self) -> Reached {
        if self.policy.required { Reached::NoReplica } else { Reached::Server }
    }

    /// Counts a write that no replica acknowledged, and makes it an error if that is asked for.
    pub(super) fn judge(&self, reached: Reached) -> Result<(), StoreError> {
        if reached != Reached::NoReplica {
            return Ok(());
        }
        self.missed.fetch_add(1, Ordering::Relaxed);
        if !self.policy.required {
            return Ok(());
        }
        Err(StoreError::unavailable(format!(
            "{}: the primary has the write, but no replica acknowledged it within {:?}: a failover may undo it; check that a \
             replica is connected, and that the user may run ROLE and WAIT",
            self.server, self.longest
        )))
    }
}

/// The writes to one server that wait for one of its replicas.
pub(super) struct Line {
    replicas: Arc<Replicas>,
    /// The server, for the log.
    server: String,
    waiting: Mutex<Vec<Queued>>,
    /// Held while a batch is under way.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The last wait in vain.
    in_vain: Mutex<Option<Instant>>,
}

/// A write that waits for its turn.
struct Queued {
    command: Cmd,
    key: String,
    answer: oneshot::Sender<Outcome>,
}

type Outcome = Result<Written, Failure>;

/// Returns the failure of a write whose batch ended without an answer: its runtime has ended.
fn lost() -> Failure {
    Failure { error: std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(), fate: Fate::Unknown }
}

impl Line {
    pub(super) fn new(replicas: Arc<Replicas>, server: String) -> Self {
        Self { replicas, server, waiting: Mutex::default(), turn: Arc::default(), in_vain: Mutex::default() }
    }

    /// Sends a write, and waits until a replica has it, or none has it in time. `send` sends all commands of a batch on the
    /// connection for writes that wait, to the server that has this key, and returns an answer for each, which may be an error.
    pub(super) async fn send<F>(
        self: &Arc<Self>,
        command: &Cmd,
        key: &str,
        send: impl Fn(Pipeline, &str) -> F + Send + Sync + 'static,
    ) -> Outcome
    where
        F: Future<Output = Result<Vec<Value>, RedisError>> + Send,
    {
        let (answer, answered) = oneshot::channel();
        self.waiting().push(Queued { command: command.clone(), key: key.to_owned(), answer });
        let answer = match select(answered, pin!(Arc::clone(&self.turn).lock_owned())).await {
            Either::Left((answer, _)) => answer,
            Either::Right((turn, answered)) => {
                let batch = std::mem::take(&mut *self.waiting());
                let line = Arc::clone(self);
                // A task of its own: it keeps the turn for as long as the server waits, although its caller goes away.
                tokio::spawn(async move {
                    line.carry_out(batch, send).await;
                    drop(turn);
                });
                answered.await
            }
        };
        answer.unwrap_or_else(|_| Err(lost()))
    }

    async fn carry_out<F>(&self, mut batch: Vec<Queued>, send: impl Fn(Pipeline, &str) -> F)
    where
        F: Future<Output = Result<Vec<Value>, RedisError>>,
    {
        // Nobody learns of a write whose caller went away before it was sent.
        batch.retain(|queued| !queued.answer.is_closed());
        match self.try_all(&batch, &send).await {
            Ok(outcomes) => {
                for (queued, outcome) in batch.into_iter().zip(outcomes) {
                    let _ = queued.answer.send(outcome);
                }
            }
            // The driver of a cluster tells the error of one command in place of all answers: some may have been carried out.
            Err(error) if batch.len() > 1 && matches!(error.kind(), ErrorKind::Server(_)) => {
                for queued in batch {
                    // A server that hangs meanwhile would take the whole limit for each.
                    if queued.answer.is_closed() {
                        continue;
                    }
                    let outcome = match self.try_all(std::slice::from_ref(&queued), &send).await {
                        Ok(mut outcomes) => outcomes.pop().unwrap_or_else(|| Err(lost())),
                        Err(error) => Err(error.into()),
                    };
                    let outcome = match outcome {
                        Ok(written) => Ok(Written { is_second: true, ..written }),
                        Err(Failure { error, fate: Fate::Told }) => Err(Failure { error, fate: Fate::Unknown }),
                        done => done,
                    };
                    let _ = queued.answer.send(outcome);
                }
            }
            Err(error) => {
                for queued in batch {
                    let _ = queued.answer.send(Err(error.clone().into()));
                }
            }
        }
    }

    /// Sends these writes together, and waits for a replica unless that was in vain just before.
    async fn try_all<F>(
        &self,
        batch: &[Queued],
        send: &impl Fn(Pipeline, &str) -> F,
    ) -> Result<Vec<Outcome>, RedisError>
    where
        F: Future<Output = Result<Vec<Value>, RedisError>>,
    {
        let Some(first) = batch.first() else { return Ok(Vec::new()) };
        let waits = !self.has_given_up();
        let mut pipe = Pipeline::with_capacity(batch.len() + 2);
        for queued in batch {
            pipe.add_command(queued.command.clone());
        }
        if waits {
            for command in self.note_and_wait(&first.key) {
                pipe.add_command(command);
            }
        }
        // A server that hangs must not keep the turn: the next batch may find another one in its place.
        let sent = timeout(self.replicas.limit, send(pipe, &first.key)).await;
        let mut answers = sent.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
        let rest = answers.split_off(batch.len().min(answers.len()));
        let reached = if waits { self.read(rest) } else { Ok(Reached::NoReplica) };
        let outcomes = answers.into_iter().map(|answer| match (answer.extract_error(), &reached) {
            (Err(error), _) => Err(error.into()),
            (Ok(_), Err(error)) => Err(Failure { error: error.clone(), fate: Fate::Done }),
            (Ok(value), Ok(reached)) => Ok(Written::once(value, *reached)),
        });
        Ok(outcomes.collect())
    }

    /// Returns the two commands after a batch: one that all replicas get, under a key that expires at once, and the `WAIT`.
    fn note_and_wait(&self, key: &str) -> [Cmd; 2] {
        let mut note = cmd("SET");
        note.arg(format!("{key}:wait")).arg("").arg("PX").arg(1);
        let mut wait = cmd("WAIT");
        let millis = u64::try_from(self.replicas.longest.as_millis()).unwrap_or(u64::MAX);
        // Zero is for ever.
        wait.arg(1).arg(millis.max(1));
        [note, wait]
    }

    /// Reads the answers to the note and the `WAIT`. It is an error if the server has become a replica meanwhile: the writes
    /// may be lost.
    fn read(&self, answers: Vec<Value>) -> Result<Reached, RedisError> {
        let mut reached = Reached::NoReplica;
        for answer in answers {
            match answer.extract_error() {
                Ok(Value::Int(acknowledged)) if acknowledged > 0 => reached = Reached::Replica,
                Err(error) if is_replica(&error) => return Err(error),
                // A server whose memory is full refuses the note, but no `WAIT`.
                _ => {}
            }
        }
        let is_in_vain = reached == Reached::NoReplica;
        *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner) = is_in_vain.then(Instant::now);
        if is_in_vain {
            tracing::warn!(
                server = %self.server,
                waited = ?self.replicas.longest,
                so_far = self.replicas.missed(),
                "no replica acknowledged the end or the renewal of a session in time: a failover now may undo it"
            );
        }
        Ok(reached)
    }

    /// Returns `true` for a while after a wait in vain.
    fn has_given_up(&self) -> bool {
        let in_vain = *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        in_vain.is_some_and(|at| at.elapsed() < GIVEN_UP)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Queued>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use redis::ServerErrorKind;
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    fn line() -> Arc<Line> {
        let replicas = Replicas::new(Policy::default(), Server::unnamed(), LIMIT);
        Arc::new(Line::new(Arc::new(replicas), "a server".to_owned()))
    }

    /// One of its slots has moved: the others are still where they were.
    #[tokio::test(start_paused = true)]
    async fn each_write_of_a_batch_that_is_sent_again_goes_by_its_own_key() {
        let line = line();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let moved =
            || RedisError::from((ErrorKind::Server(ServerErrorKind::Moved), "moved", "1 127.0.0.1:1".to_owned()));
        let turn = Arc::clone(&line.turn).lock_owned().await;
        let writes = ["a", "b", "c"].map(|key| {
            let (line, sent) = (Arc::clone(&line), Arc::clone(&sent));
            tokio::spawn(async move {
                let command = cmd("DEL");
                let outcome = line.send(&command, key, move |pipe, key| {
                    // Behind them come the note and the `WAIT`.
                    let count = pipe.len() - 2;
                    sent.lock().unwrap().push((key.to_owned(), count));
                    let is_there = count == 1 && key != "a";
                    async move { if is_there { Ok(vec![Value::Int(1); 3]) } else { Err(moved()) } }
                });
                outcome.await.map(|written| written.is_second).map_err(|failure| failure.fate)
            })
        });
        while line.waiting().len() < 3 {
            tokio::task::yield_now().await;
        }
        drop(turn);
        let mut outcomes = Vec::new();
        for write in writes {
            outcomes.push(write.await.unwrap());
        }
        assert_eq!(outcomes, [Err(Fate::Unknown), Ok(true), Ok(true)]);
        let sent = sent.lock().unwrap().iter().map(|(key, count)| format!("{count} to {key}")).collect::<Vec<_>>();
        assert_eq!(sent, ["3 to a", "1 to a", "1 to b", "1 to c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_keeps_the_turn_no_longer_than_the_limit() {
        let line = line();
        let start = Instant::now();
        let command = cmd("DEL");
        let hanging = line.send(&command, "a", |_, _: &str| std::future::pending());
        let next = async {
            sleep(LIMIT / 2).await;
            line.send(&command, "b", |_, _: &str| async { Ok(vec![Value::Int(1); 3]) }).await
        };
        let (hanging, next) = tokio::join!(hanging, next);
        assert!(hanging.err().unwrap().error.is_timeout());
        assert!(next.is_ok_and(|written| written.reached == Reached::Replica));
        assert_eq!(start.elapsed(), LIMIT);
    }
}
