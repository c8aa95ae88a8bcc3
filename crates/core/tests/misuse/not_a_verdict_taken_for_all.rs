//! A verdict that a later release adds must have somewhere to go: a match without a last arm would let it in.

use secure_sessions_core::Verdict;

fn lets_in(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Current(_) | Verdict::Superseded(_) => true,
        Verdict::Expired | Verdict::Replayed | Verdict::Unremembered | Verdict::Tampered => false,
    }
}

fn main() {}
