use secure_sessions_axum::Session;

fn theirs(session: &Session) {
    session.flush();
    session.purge();
    session.cycle_id();
    session.remove_as("key");
    let _ = session.remove::<Vec<u8>>("key");
    let _ = session.remove::<String>("key");
}

fn main() {}
