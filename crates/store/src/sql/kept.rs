//! Connections at hand. A pool asks the database about each one that comes back to it: a round trip for each call, as
//! long as the call's own. The store knows which of its connections are in order, and keeps those for the next call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Error, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// One that was used for so long goes back to the pool, which may close it for its age.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// One that nobody has used for so long does, too, for the pool to close it if that goes on.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// What to do about a connection that may be out of order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Care {
    /// One that was idle for so long is asked whether it still works, and for how long.
    pub(super) ask: Option<(Duration, Duration)>,
    /// One that is dropped in the middle of something is closed; if not, the pool waits until that is over.
    pub(super) closes: bool,
}

/// A pool, and connections of it.
pub(super) struct Kept<DB: Database> {
    pool: Pool<DB>,
    care: Care,
    /// None if every connection goes back at once: others want those of an application's pool, too.
    own: Option<Own<DB>>,
}

struct Own<DB: Database> {
    /// As many as the pool has connections: they are given out here, in the order of who came.
    turns: Arc<Semaphore>,
    /// The last one was used last.
    idle: Mutex<Vec<Idle<DB>>>,
}

struct Idle<DB: Database> {
    held: Held<DB>,
    since: Instant,
}

/// A connection in somebody's hands. It is of use for another call only after [`Kept::release`].
pub(super) struct Held<DB: Database> {
    /// None once it is closed.
    connection: Option<PoolConnection<DB>>,
    from_pool_at: Instant,
    closes: bool,
    turn: Option<OwnedSemaphorePermit>,
}

impl<DB: Database> Kept<DB> {
    /// Keeps connections if the pool is the store's own.
    pub(super) fn new(pool: Pool<DB>, is_own: bool, care: Care) -> Self {
        let most = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        let turns = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { own: is_own.then(|| Own { turns, idle: Mutex::default() }), pool, care }
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Closes all connections, once they are done.
    pub(super) async fn close(&self) {
        // From here on none is kept any more.
        let closed = self.pool.close();
        if let Some(own) = &self.own {
            let idle = std::mem::take(&mut *own.idle());
            idle.into_iter().for_each(|idle| drop(idle.held.into_connection()));
        }
        closed.await;
    }

    /// A connection that is in order, as far as anyone knows.
    pub(super) async fn acquire(&self) -> Result<Held<DB>, Error> {
        let mut turn = self.turn().await?;
        if let Some(own) = &self.own {
            let idle = own.idle().pop();
            if let Some(Idle { mut held, since }) = idle {
                held.turn = turn;
                if self.works(&mut held, since).await {
                    return Ok(held);
                }
                turn = held.turn.take();
                // What has become of this one has become of the others, too.
                let others = std::mem::take(&mut *own.idle());
                drop((held, others));
            }
        }
        let connection = self.pool.acquire().await?;
        let (from_pool_at, closes) = (Instant::now(), self.care.closes);
        Ok(Held { connection: Some(connection), from_pool_at, closes, turn })
    }

    /// A turn, and room in the pool, for somebody who takes a connection from there.
    #[cfg(feature = "sqlite")]
    pub(super) async fn room(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let turn = self.turn().await?;
        let idle = self.own.as_ref().and_then(|own| own.idle().pop());
        if let Some(mut connection) = idle.and_then(|idle| idle.held.into_connection()) {
            connection.return_to_pool().await;
        }
        Ok(turn)
    }

    /// It is in order: for the next call. One that goes back to the pool has so long for it.
    pub(super) fn release(&self, mut held: Held<DB>, limit: Duration) {
        let turn = held.turn.take();
        if let Some(own) = self.own.as_ref().filter(|_| held.from_pool_at.elapsed() < KEPT_FOR) {
            let mut idle = own.idle();
            if !self.pool.is_closed() {
                let stale = idle.first().is_some_and(|first| first.since.elapsed() > IDLE_FOR);
                let stale = stale.then(|| idle.remove(0).held);
                idle.push(Idle { held, since: Instant::now() });
                drop(idle);
                stale.into_iter().for_each(|stale| give_back(stale, limit));
                return;
            }
        }
        give_back(held, limit);
        drop(turn);
    }

    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let Some(own) = &self.own else { return Ok(None) };
        let turn = Arc::clone(&own.turns).acquire_owned();
        let turn = timeout(self.pool.options().get_acquire_timeout(), turn).await.map_err(|_| Error::PoolTimedOut)?;
        Ok(Some(turn.map_err(|_| Error::PoolClosed)?))
    }

    async fn works(&self, held: &mut Held<DB>, idle_since: Instant) -> bool {
        match (self.care.ask, &mut held.connection) {
            (Some((after, longest)), Some(connection)) if idle_since.elapsed() >= after => {
                matches!(timeout(longest, connection.ping()).await, Ok(Ok(())))
            }
            _ => true,
        }
    }
}

/// The pool asks the server once more whether the connection works. It would wait for ever for one that hangs.
fn give_back<DB: Database>(held: Held<DB>, limit: Duration) {
    if let Some(mut connection) = held.into_connection() {
        tokio::spawn(timeout(limit, async move { connection.return_to_pool().await }));
    }
}

impl<DB: Database> Own<DB> {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle<DB>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Held<DB> {
    /// None once it is closed.
    pub(super) fn connection(&mut self) -> Option<&mut DB::Connection> {
        self.connection.as_deref_mut()
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    /// Without a farewell, which could hang.
    pub(super) fn close(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }

    fn into_connection(mut self) -> Option<PoolConnection<DB>> {
        self.connection.take()
    }
}

impl<DB: Database> Drop for Held<DB> {
    fn drop(&mut self) {
        if self.closes {
            self.close();
        }
    }
}

impl<DB: Database> Drop for Kept<DB> {
    fn drop(&mut self) {
        // There may be no runtime any more, without which none goes back to the pool.
        let idle = self.own.as_ref().map(|own| std::mem::take(&mut *own.idle())).unwrap_or_default();
        idle.into_iter().for_each(|mut idle| idle.held.close());
    }
}
