//! Group commit: the single statements that wait for a turn share one transaction, and so one wait for the disk.
//!
//! There is no timer. A statement that finds no other writer runs at once, by itself. Those that come meanwhile wait, and the
//! next turn takes what waits by then. Each has its own answer: rows that it changed, or an error of its own, which undoes
//! nobody else's. No answer is given before the commit, so that its caller reads what it wrote.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection, Error, SqlStr};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{BEGIN, File, commit, error, open, roll_back};
use crate::StoreError;
use crate::sql::error::Failure;

/// The most statements in one transaction, for whose end all others wait.
const MOST: usize = 64;
/// The part of its time for which a busy queue leaves the file to other processes, which poll for a moment without a writer.
const REST: u32 = 10;
/// The shortest rest: a runtime's timer has no shorter one.
const SHORTEST_REST: Duration = Duration::from_millis(1);
/// The longest: a group that took longer waited for another process, which then has had its turn.
const LONGEST_REST: Duration = Duration::from_millis(5);

/// A statement that waits for its turn.
pub(super) struct Write {
    statement: SqlStr,
    arguments: SqliteArguments,
    answer: oneshot::Sender<Result<u64, Failure>>,
}

impl Write {
    /// Returns the statement, and its future answer.
    pub(super) fn new(
        statement: SqlStr,
        arguments: SqliteArguments,
    ) -> (Self, oneshot::Receiver<Result<u64, Failure>>) {
        let (answer, outcome) = oneshot::channel();
        (Self { statement, arguments, answer }, outcome)
    }

    fn answer(self, outcome: Result<u64, Failure>) {
        // Its caller may have gone.
        let _ = self.answer.send(outcome);
    }
}

/// The statements that wait.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    writes: VecDeque<Write>,
    /// Set to `true` while a task serves them.
    is_served: bool,
}

impl Queue {
    /// Adds a statement. Returns `true` if you must start [`serve`].
    pub(super) fn push(&self, write: Write) -> bool {
        let mut waiting = self.waiting();
        waiting.writes.push_back(write);
        !std::mem::replace(&mut waiting.is_served, true)
    }

    /// Takes the next ones whose callers are still there; nothing happens of the others'. If none waits, `None`: the task that
    /// serves them ends.
    fn take(&self) -> Option<Vec<Write>> {
        let mut waiting = self.waiting();
        waiting.is_served = !waiting.writes.is_empty();
        let count = waiting.writes.len().min(MOST);
        waiting.is_served.then(|| waiting.writes.drain(..count).filter(|write| !write.answer.is_closed()).collect())
    }

    fn has_more(&self) -> bool {
        !self.waiting().writes.is_empty()
    }

    /// Gives all up that wait: their callers receive an error.
    fn abandon(&self) {
        *self.waiting() = Waiting::default();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the queue until it is empty. Between two groups, a transaction that waits has its turn.
pub(super) async fn serve(file: Arc<File>) {
    let unless_done = Abandon(&file.queue);
    let mut owed = Duration::ZERO;
    loop {
        let _turn = file.turn.lock().await;
        let Some(writes) = file.queue.take() else { break };
        let begun = Instant::now();
        file.execute_all(writes).await;
        owed += begun.elapsed() / REST;
        if owed >= SHORTEST_REST && file.queue.has_more() {
            sleep(owed.min(LONGEST_REST)).await;
            owed = Duration::ZERO;
        }
    }
    // By now, another task may serve it.
    std::mem::forget(unless_done);
}

/// Gives the waiting up if the task ends early, with its runtime.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl File {
    async fn execute_all(&self, writes: Vec<Write>) {
        if writes.len() > 1 {
            match self.execute_together(&writes).await {
                Together::Done(outcomes) => {
                    writes.into_iter().zip(outcomes).for_each(|(write, outcome)| write.answer(outcome));
                    return;
                }
                Together::Failed(failure) => {
                    writes.into_iter().for_each(|write| write.answer(Err(failure.again())));
                    return;
                }
                Together::Undone => {}
            }
        }
        for write in writes {
            let outcome = self.execute(write.statement.clone(), write.arguments.clone()).await;
            write.answer(outcome);
        }
    }

    async fn execute_together(&self, writes: &[Write]) -> Together {
        let mut held = match self.connection().await {
            Ok(held) => held,
            Err(failure) => return Together::Failed(failure),
        };
        let outcome = match open(&mut held) {
            Ok(connection) => in_one_transaction(connection, writes).await,
            Err(failure) => Ok(Together::Failed(failure)),
        };
        self.release(held);
        outcome.unwrap_or_else(|refused| Together::Failed(error(refused)))
    }
}

/// The outcome of a transaction.
enum Together {
    /// All are committed but those that failed by themselves.
    Done(Vec<Result<u64, Failure>>),
    /// It did not begin, or its commit failed: all have this error.
    Failed(Failure),
    /// One of them failed in a way that may have undone others: it was rolled back, and each is to be run by itself.
    Undone,
}

async fn in_one_transaction(connection: &mut sqlx::SqliteConnection, writes: &[Write]) -> Result<Together, Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        let query = sqlx::query_with(write.statement.clone(), write.arguments.clone());
        match query.execute(&mut *transaction).await {
            Ok(done) => outcomes.push(Ok(done.rows_affected())),
            Err(refused) => match error(refused) {
                // SQLite has undone this statement alone.
                failure @ Failure::Store(StoreError::Duplicate) => outcomes.push(Err(failure)),
                _ => {
                    roll_back(transaction).await?;
                    return Ok(Together::Undone);
                }
            },
        }
    }
    commit(transaction).await?;
    Ok(Together::Done(outcomes))
}
