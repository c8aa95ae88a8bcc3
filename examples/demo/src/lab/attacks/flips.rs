//! Flips one bit in each byte of a cookie, and presents every result.

use base64_simd::STANDARD;

use super::{Conclusion, is_refused};
use crate::format;
use crate::lab::LabError;
use crate::lab::probe::{Pair, Probe, Request, Side};
use crate::lab::report::{Findings, FlippedPart, Outcome};
use crate::lab::script::Script;

/// Runs the attack.
///
/// # Errors
///
/// [`LabError`] if the targets do not answer, or do not serve an honest user.
pub async fn run(script: &mut Script<'_>) -> Conclusion {
    let cookies = script.log_in("alice").await?;
    let control = script.prepare("The cookie as it is", |side| Request::get("/account", cookies.get(side))).await?;

    let flips = Pair {
        ours: flip_each(script.probe(), Side::Ours, &cookies.ours).await?,
        peer: flip_each(script.probe(), Side::Peer, &cookies.peer).await?,
    };
    let owner = script
        .honest("After all of that, the cookie as it is: is Alice still logged in?", |side| {
            Request::get("/account", cookies.get(side))
        })
        .await?;

    let outcome = Pair::of(|side| {
        let sum = |count: fn(&FlippedPart) -> usize| flips.get(side).iter().map(count).sum::<usize>();
        let (bytes, refused) = (sum(|part| part.bytes), sum(|part| part.refused));
        let served = control.get(side).is_served() && owner.get(side).is_served();
        Outcome::decide(
            served && refused == bytes && bytes > 0,
            refused < bytes,
            &format!("{refused} of {bytes} altered cookies refused, and Alice is still logged in. {}", remark(side)),
            &format!("{} of {bytes} altered cookies were served.", bytes - refused),
        )
    });
    Ok((outcome, Findings::Flips(flips)))
}

fn remark(side: Side) -> &'static str {
    match side {
        Side::Ours => {
            "A bit flipped in the issue mark raises no alarm, although a forgery under a leaked key looks the same: the \
             bucket knows the other half of the mark, and so that the cookie was a genuine one."
        }
        Side::Peer => "Authenticated encryption does what it promises: here the two do not differ.",
    }
}

/// The parts of a cookie's bytes, in order.
fn parts(side: Side, length: usize) -> Vec<(&'static str, usize)> {
    match side {
        Side::Ours => vec![
            ("version", 1),
            ("seal key id", 4),
            ("fingerprint key id", 4),
            ("nonce", 24),
            ("ciphertext", length.saturating_sub(65)),
            ("tag", 16),
            ("issue mark", 16),
        ],
        Side::Peer => vec![("nonce", 12), ("ciphertext", length.saturating_sub(28)), ("tag", 16)],
    }
}

async fn flip_each(probe: &Probe, side: Side, cookie: &str) -> Result<Vec<FlippedPart>, LabError> {
    let token = decode(side, cookie)?;
    let mut at = 0;
    let mut flipped = Vec::new();
    for (name, bytes) in parts(side, token.len()) {
        let mut part = FlippedPart { name, bytes, refused: 0, events: Vec::new() };
        for position in at..at + bytes {
            let mut altered = token.clone();
            altered[position] ^= 1 << (position % 8);
            let answer = probe.send(side, Request::get("/account", &encode(side, &altered))).await?;
            part.refused += usize::from(is_refused(&answer));
            for event in &answer.events {
                match part.events.iter_mut().find(|(name, _)| *name == event.name) {
                    Some((_, count)) => *count += 1,
                    None => part.events.push((event.name, 1)),
                }
            }
        }
        at += bytes;
        flipped.push(part);
    }
    Ok(flipped)
}

fn decode(side: Side, cookie: &str) -> Result<Vec<u8>, LabError> {
    match side {
        Side::Ours => Ok(format::decode(cookie)?),
        Side::Peer => {
            // The cookie crate escapes the three characters of base64 that are not letters or digits: this undoes it.
            let base64 = cookie.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
            STANDARD.decode_to_vec(base64).map_err(|_| LabError::Forge)
        }
    }
}

fn encode(side: Side, token: &[u8]) -> String {
    match side {
        Side::Ours => format::encode(token),
        Side::Peer => STANDARD.encode_to_string(token),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_cover_every_byte() {
        for length in [200, 577] {
            for side in [Side::Ours, Side::Peer] {
                let covered: usize = parts(side, length).iter().map(|(_, bytes)| bytes).sum();
                assert_eq!(covered, length, "{side:?}");
            }
        }
    }
}
