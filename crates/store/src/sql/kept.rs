//! Connections kept for the next call. A pool checks each connection that comes back with a round trip to the database, which
//! takes as long as the call itself. The store knows which of its connections are in order, and keeps those.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Error, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The time of use after which a connection goes back to the pool, which may close it for its age.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// The idle time after which a connection goes back, too, so that the pool can close it.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// The treatment of a connection that may be out of order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Care {
    /// The idle time after which a connection is checked, and the time that the check may take.
    pub(super) ask: Option<(Duration, Duration)>,
    /// Set to `true` to close a connection that is dropped in the middle of a call; else the pool waits for the call's end.
    pub(super) closes: bool,
}

/// A pool, with connections kept from it.
pub(super) struct Kept<DB: Database> {
    pool: Pool<DB>,
    care: Care,
    /// The kept connections; `None` if each goes back at once, because others want those of an application's pool, too.
    own: Option<Own<DB>>,
}

struct Own<DB: Database> {
    /// The permits, as many as the pool has connections, given out in the order of requests.
    turns: Arc<Semaphore>,
    /// The idle connections, the last used one at the end.
    idle: Mutex<Vec<Idle<DB>>>,
}

struct Idle<DB: Database> {
    held: Held<DB>,
    since: Instant,
}

/// A connection in somebody's hands. It is of use for another call only after [`Kept::release`].
pub(super) struct Held<DB: Database> {
    /// The connection; `None` once it is closed.
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
        // From now on none is kept.
        let closed = self.pool.close();
        if let Some(own) = &self.own {
            let idle = std::mem::take(&mut *own.idle());
            idle.into_iter().for_each(|idle| drop(idle.held.into_connection()));
        }
        closed.await;
    }

    /// Returns a connection that is in order, as far as is known.
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
                // If this one is broken, the others are, too.
                let others = std::mem::take(&mut *own.idle());
                drop((held, others));
            }
        }
        let connection = self.pool.acquire().await?;
        let (from_pool_at, closes) = (Instant::now(), self.care.closes);
        Ok(Held { connection: Some(connection), from_pool_at, closes, turn })
    }

    /// Waits for a turn, and for room in the pool, to take a connection from there.
    #[cfg(feature = "sqlite")]
    pub(super) async fn room(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let turn = self.turn().await?;
        let idle = self.own.as_ref().and_then(|own| own.idle().pop());
        if let Some(mut connection) = idle.and_then(|idle| idle.held.into_connection()) {
            connection.return_to_pool().await;
        }
        Ok(turn)
    }

    /// Keeps a connection that is in order for the next call, or gives it back to the pool within `limit`.
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

/// Gives a connection back to the pool, within `limit`: the pool checks it once more, and would wait for one that hangs.
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
    /// The connection; `None` once it is closed.
    pub(super) fn connection(&mut self) -> Option<&mut DB::Connection> {
        self.connection.as_deref_mut()
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    /// Closes the connection without a farewell, which could hang.
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
