//! Connections kept for the next call. A pool checks each connection that comes back with a round trip to the database, which
//! takes as long as the call itself. The store knows which of its connections are in order, and keeps those.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Database, Error, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The time of use after which a connection goes back to the pool, which may close it for its age.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// The same for a connection that is not the pool's: then it is closed.
const OPEN_FOR: Duration = Duration::from_secs(30 * 60);
/// The idle time after which a connection goes back, too, so that the pool can close it.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// The longest wait of a connection's farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// Opens a connection, before the deadline.
pub(super) type Connect<DB> = dyn Fn(tokio::time::Instant) -> Opening<DB> + Send + Sync;
type Opening<DB> = Pin<Box<dyn Future<Output = Result<<DB as Database>::Connection, Error>> + Send>>;

/// The treatment of a connection that may be out of order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Care {
    /// The idle time after which a connection is checked, and the time that the check may take.
    pub(super) ask: Option<(Duration, Duration)>,
    /// Set to `true` to close a connection that is dropped in the middle of a call; else the pool waits for the call's end.
    pub(super) closes: bool,
}

/// The kept connections that need no check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those that were used a moment ago.
    LastUsed,
    /// None: one that was used a moment ago has turned out to be broken.
    Nothing,
}

/// A pool, with connections kept from it.
pub(super) struct Kept<DB: Database> {
    pool: Pool<DB>,
    care: Care,
    /// The kept connections; `None` if each goes back at once, because others want those of an application's pool, too.
    own: Option<Own<DB>>,
}

struct Own<DB: Database> {
    /// Opens the connections in place of the pool, which would not say why it cannot: it tries again and again until it has
    /// used up the time.
    connect: Option<Box<Connect<DB>>>,
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
    connection: Option<Source<DB>>,
    open_since: Instant,
    /// Set to `true` if an earlier call used it.
    was_kept: bool,
    closes: bool,
    turn: Option<OwnedSemaphorePermit>,
}

/// A connection of a pool, or one without.
enum Source<DB: Database> {
    Pool(PoolConnection<DB>),
    Own(DB::Connection),
}

impl<DB: Database> Source<DB> {
    fn connection(&mut self) -> &mut DB::Connection {
        match self {
            Self::Pool(connection) => connection,
            Self::Own(connection) => connection,
        }
    }

    /// The time of use after which it is given back.
    fn lasts_for(&self) -> Duration {
        match self {
            Self::Pool(_) => KEPT_FOR,
            Self::Own(_) => OPEN_FOR,
        }
    }

    /// Gives it back to the pool, or closes it.
    async fn give_back(self) {
        match self {
            Self::Pool(mut connection) => connection.return_to_pool().await,
            Self::Own(connection) => {
                // If it is broken already, there is nothing to say farewell to.
                let _ = timeout(FAREWELL, connection.close()).await;
            }
        }
    }
}

impl<DB: Database> Kept<DB> {
    /// Gives each connection back to a pool of the application's after each call.
    pub(super) fn of_application(pool: Pool<DB>, care: Care) -> Self {
        Self { own: None, pool, care }
    }

    /// Keeps connections of a pool of the store's own, or those that `connect` opens.
    pub(super) fn of_store(pool: Pool<DB>, connect: Option<Box<Connect<DB>>>, care: Care) -> Self {
        let most = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        let turns = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { own: Some(Own { connect, turns, idle: Mutex::default() }), pool, care }
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
            // Each call that is under way has one turn.
            let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX).min(self.most());
            let _turns = own.turns.acquire_many(most).await;
            own.turns.close();
            let idle = std::mem::take(&mut *own.idle());
            for source in idle.into_iter().filter_map(|idle| idle.held.into_source()) {
                source.give_back().await;
            }
        }
        closed.await;
    }

    fn most(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// Returns a connection that is in order, as far as is known.
    pub(super) async fn acquire(&self, deadline: tokio::time::Instant, trust: Trust) -> Result<Held<DB>, Error> {
        let mut turn = self.turn().await?;
        if let Some(own) = &self.own {
            let idle = own.idle().pop();
            if let Some(Idle { mut held, since }) = idle {
                held.turn = turn;
                held.was_kept = true;
                if self.works(&mut held, since, trust).await {
                    return Ok(held);
                }
                turn = held.turn.take();
                // If this one is broken, the others are, too.
                let others = std::mem::take(&mut *own.idle());
                drop((held, others));
            }
        }
        let source = match self.own.as_ref().and_then(|own| own.connect.as_ref()) {
            Some(_) if self.pool.is_closed() => return Err(Error::PoolClosed),
            Some(connect) => Source::Own(connect(deadline).await?),
            None => Source::Pool(self.pool.acquire().await?),
        };
        let (open_since, closes) = (Instant::now(), self.care.closes);
        Ok(Held { connection: Some(source), open_since, was_kept: false, closes, turn })
    }

    /// Waits for a turn, and for room in the pool, to take a connection from there.
    #[cfg(feature = "sqlite")]
    pub(super) async fn room(&self) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let turn = self.turn().await?;
        let idle = self.own.as_ref().and_then(|own| own.idle().pop());
        if let Some(source) = idle.and_then(|idle| idle.held.into_source()) {
            source.give_back().await;
        }
        Ok(turn)
    }

    /// Keeps a connection that is in order for the next call, or gives it back to the pool within `limit`.
    pub(super) fn release(&self, mut held: Held<DB>, limit: Duration) {
        let turn = held.turn.take();
        if let Some(own) = self.own.as_ref().filter(|_| !held.is_old()) {
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
        if self.pool.is_closed() {
            return Err(Error::PoolClosed);
        }
        let turn = Arc::clone(&own.turns).acquire_owned();
        let turn = timeout(self.pool.options().get_acquire_timeout(), turn).await.map_err(|_| Error::PoolTimedOut)?;
        Ok(Some(turn.map_err(|_| Error::PoolClosed)?))
    }

    async fn works(&self, held: &mut Held<DB>, idle_since: Instant, trust: Trust) -> bool {
        match (self.care.ask, &mut held.connection) {
            (Some((after, longest)), Some(source)) if trust == Trust::Nothing || idle_since.elapsed() >= after => {
                matches!(timeout(longest, source.connection().ping()).await, Ok(Ok(())))
            }
            _ => true,
        }
    }
}

/// Gives a connection back to the pool, within `limit`: the pool checks it once more, and would wait for one that hangs.
/// One that is not the pool's is closed.
fn give_back<DB: Database>(held: Held<DB>, limit: Duration) {
    if let Some(source) = held.into_source() {
        tokio::spawn(timeout(limit, source.give_back()));
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
        self.connection.as_mut().map(Source::connection)
    }

    fn is_old(&self) -> bool {
        self.connection.as_ref().is_some_and(|source| self.open_since.elapsed() >= source.lasts_for())
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) fn was_kept(&self) -> bool {
        self.was_kept
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    /// Closes the connection without a farewell, which could hang.
    pub(super) fn close(&mut self) {
        match self.connection.take() {
            Some(Source::Pool(connection)) => drop(connection.detach()),
            Some(Source::Own(connection)) => drop(connection),
            None => {}
        }
    }

    fn into_source(mut self) -> Option<Source<DB>> {
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
