//! Presents the cookies of a session that was logged out.

use std::time::Duration;

use super::{Conclusion, is_refused};
use crate::lab::probe::{Exchange, Pair, Request};
use crate::lab::report::{Findings, Outcome};
use crate::lab::script::{Script, newest};

/// Runs the attack against targets with this grace: for so long a mark of the logout stays in the session's place.
///
/// # Errors
///
/// [`LabError`](crate::lab::LabError) if the targets do not answer, or do not serve an honest user.
pub async fn run(script: &mut Script<'_>, grace: Duration) -> Conclusion {
    let first = script.log_in("alice").await?;
    let written = script
        .prepare("Alice writes a note: the session gets its second cookie", |side| Request {
            body: Some(serde_json::json!({ "note": "for Bob" })),
            ..Request::post("/note", first.get(side))
        })
        .await?;
    let second = newest(&written)?;
    script.prepare("Alice logs out", |side| Request::post("/logout", second.get(side))).await?;

    let last = script
        .attack("At once, the last cookie of the session, copied before", |side| {
            Request::get("/account", second.get(side))
        })
        .await?;
    script.wait(grace + Duration::from_millis(50)).await;
    let earlier = script
        .attack("After a grace, the cookie before that", |side| Request::get("/account", first.get(side)))
        .await?;

    let refused = |last: &Exchange, earlier: &Exchange| is_refused(last) && is_refused(earlier);
    let served = |last: &Exchange, earlier: &Exchange| last.is_served() || earlier.is_served();
    let ours = Outcome::decide(
        refused(&last.ours, &earlier.ours),
        served(&last.ours, &earlier.ours),
        "Logout removed the session’s row. Every cookie that was ever issued for it still decrypts, and none has a row \
         that vouches for it. Within a grace of the logout that raises no event: a slow request of Alice’s own browser \
         would look the same.",
        "A session that was logged out came back.",
    );
    let peer = Outcome::decide(
        refused(&last.peer, &earlier.peer),
        served(&last.peer, &earlier.peer),
        "The cookies were refused.",
        "Logout only asked the browser to forget its cookie. A copy stays good until the key is changed, which logs \
         everybody out.",
    );
    Ok((Pair { ours, peer }, Findings::None))
}
