use secure_sessions_axum::SessionError;

fn theirs(error: &SessionError) -> bool {
    matches!(error, SessionError::TooLarge { .. })
}

fn main() {}
