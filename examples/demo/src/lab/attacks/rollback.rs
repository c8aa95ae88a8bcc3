//! Takes a session back to an earlier cookie: the voucher that was spent is to be whole again.

use std::time::Duration;

use super::{Conclusion, is_refused};
use crate::lab::probe::{Pair, Request};
use crate::lab::report::{Findings, Outcome};
use crate::lab::script::{Script, newest};

/// Runs the attack against targets with this grace.
///
/// # Errors
///
/// [`LabError`](crate::lab::LabError) if the targets do not answer, or do not serve an honest user.
pub async fn run(script: &mut Script<'_>, grace: Duration) -> Conclusion {
    let a_little_more = grace + Duration::from_millis(50);

    let before = script.log_in("alice").await?;
    let spent = script
        .prepare("Alice spends her voucher; the cookie from before is kept", |side| {
            Request::post("/voucher", before.get(side))
        })
        .await?;
    let after = newest(&spent)?;
    let at_once = script
        .attack("At once, the voucher again with the old cookie", |side| Request::post("/voucher", before.get(side)))
        .await?;

    script.wait(a_little_more).await;
    let owner = script
        .prepare("Later than a grace, Alice’s next click, with her newest cookie", |side| {
            Request::get("/account", after.get(side))
        })
        .await?;
    newest(&owner)?;
    script.wait(a_little_more).await;
    let later = script
        .attack("After one more grace, the old cookie again", |side| Request::post("/voucher", before.get(side)))
        .await?;
    let owner = script.aftermath("Alice’s own next click", |side| Request::get("/account", after.get(side))).await?;

    let ours = Outcome::decide(
        at_once.ours.status == 409
            && is_refused(&later.ours)
            && later.ours.reported("replayed")
            && is_refused(&owner.ours),
        at_once.ours.is_served() || later.ours.is_served(),
        "The old cookie never brought the voucher back. At once, it counted as its session and met the newest state: the \
         voucher is spent. Once the session had moved on, it was a replay: refused and reported, and the session was \
         revoked, since somebody else holds a copy. Alice logs in again.",
        "The voucher was spent twice.",
    );
    let peer = Outcome::decide(
        is_refused(&at_once.peer) && is_refused(&later.peer),
        at_once.peer.is_served() && later.peer.is_served(),
        "The old cookie was refused.",
        "The old cookie still decrypts, so it is the session: the voucher was spent three times, and nothing was noticed.",
    );
    Ok((Pair { ours, peer }, Findings::None))
}
