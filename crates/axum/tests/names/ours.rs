use std::borrow::Cow;

use secure_sessions_axum::{EngineError, Session, SessionError};

fn ours(session: &Session) -> Result<(), SessionError> {
    session.remove("key")?;
    session.remove(&String::from("key"))?;
    session.remove(&Cow::from("key"))?;
    session.take::<u8>("key")?;
    session.renew()?;
    match session.insert("key", 1) {
        Err(error) if matches!(error.kind(), EngineError::TooLarge { .. }) => session.logout(),
        inserted => inserted,
    }
}

fn main() {
    let _ = ours;
}
