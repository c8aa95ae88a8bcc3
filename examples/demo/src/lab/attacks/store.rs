//! Shows every row of the store, and looks for the session in the database file's bytes.

use super::{Conclusion, is_refused};
use crate::format::{self, SealKey};
use crate::lab::probe::{Pair, Request, Side};
use crate::lab::report::{Findings, Outcome, Verdict};
use crate::lab::script::{Script, newest};
use crate::lab::searches::{Search, StoreFindings};
use crate::rows::Database;

/// Runs the attack.
///
/// # Errors
///
/// [`LabError`](crate::lab::LabError) if the targets do not answer, do not serve an honest user, or the database cannot be read.
pub async fn run(script: &mut Script<'_>, database: &Database, key: &SealKey) -> Conclusion {
    let [a, b, c, d] = format::random::<4>()?;
    let note = format!("meet me at pier {a:02x}{b:02x}{c:02x}{d:02x}");
    let first = script.log_in("alice").await?;
    let written = script
        .prepare("Alice writes a note that nobody wrote before", |side| Request {
            body: Some(serde_json::json!({ "note": note })),
            ..Request::post("/note", first.get(side))
        })
        .await?;
    let cookies = newest(&written)?;
    let read = script.honest("It is in her session", |side| Request::get("/account", cookies.get(side))).await?;

    let token = format::decode(&cookies.ours)?;
    let (content, _) = key.open(Side::Ours.cookie_name(), &cookies.ours)?;
    let ciphertext = token.get(33..65).unwrap_or_default();
    let text = |what, text: &str| (what, format!("“{text}”"), text.as_bytes().to_vec(), false);
    let bytes = |what, bytes: &[u8], expected| (what, abbreviated(bytes), bytes.to_vec(), expected);
    let needles = vec![
        text("the user’s name", "alice"),
        text("her role", "customer"),
        text("the state of her voucher", "unspent"),
        text("her note", &note),
        ("the cookie, as it travels", shortened(&cookies.ours), cookies.ours.clone().into_bytes(), false),
        bytes("the start of its ciphertext", ciphertext, false),
        bytes("its handoff key", &content.handoff_key, false),
        bytes("its session id, which the lab read with the leaked key", &content.session_id, true),
    ];

    let haystack = database.raw_bytes().await?;
    let searches: Vec<Search> = needles
        .into_iter()
        .map(|(what, shown, needle, expected)| Search { what, shown, expected, found: count(&haystack, &needle) })
        .collect();
    let tables = database.tables().await?;

    let secret_found = searches.iter().any(|search| !search.expected && search.found > 0);
    let control_found = searches.iter().all(|search| !search.expected || search.found > 0);
    let ours = Outcome::decide(
        read.ours.is_served() && !is_refused(&read.ours) && control_found && !secret_found,
        secret_found,
        "Nothing of the session is in the database. A copy of it tells how many sessions there are, when they were made \
         and last seen, and which belong to the same unnamed subject.",
        "Something of the session is in the database.",
    );
    let peer = Outcome {
        verdict: Verdict::NotApplicable,
        text: "The private jar keeps nothing on the server. That is also why it could refuse nothing in the attacks \
               before: there is no memory to ask."
            .to_owned(),
    };
    let searched_bytes = haystack.len();
    Ok((Pair { ours, peer }, Findings::Store(StoreFindings { searches, searched_bytes, tables })))
}

/// Counts the places at which the needle stands in the haystack.
fn count(haystack: &[u8], needle: &[u8]) -> usize {
    let [first, ..] = needle else { return 0 };
    let starts = haystack.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.filter(|(at, _)| haystack[*at..].starts_with(needle)).count()
}

fn shortened(text: &str) -> String {
    let start: String = text.chars().take(12).collect();
    format!("{start}… ({} characters)", text.len())
}

fn abbreviated(bytes: &[u8]) -> String {
    let start: String = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{start}… ({} bytes)", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_are_counted_wherever_they_stand() {
        assert_eq!(count(b"alice and alice", b"alice"), 2);
        assert_eq!(count(b"malice", b"alice"), 1);
        assert_eq!(count(b"alic", b"alice"), 0);
        assert_eq!(count(b"anything", b""), 0);
    }
}
