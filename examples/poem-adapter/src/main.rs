//! Counts visits on Poem: `cargo run -p poem-adapter`, then open http://127.0.0.1:3001.

use poem::listener::TcpListener;
use poem::{EndpointExt, Route, Server, get, handler};
use poem_adapter::{Session, SessionError, SessionMiddleware};
use secure_sessions::{Keyring, MemoryStore, SessionManager};

#[handler]
fn count(session: Session) -> Result<String, SessionError> {
    let visits = session.update("visits", |visits: &mut u64| {
        *visits += 1;
        *visits
    })?;
    Ok(format!("visit number {visits}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    let app = Route::new().at("/", get(count)).with(SessionMiddleware::new(manager));
    Server::new(TcpListener::bind("127.0.0.1:3001")).run(app).await?;
    Ok(())
}
