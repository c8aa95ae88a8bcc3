//! Tickets, identifiers and challenges of devices: garbage, and what a holder of the fingerprint key stamps.

#![no_main]

use arbitrary::Arbitrary;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge::device;
use libfuzzer_sys::fuzz_target;
use secure_sessions_core::format::{DEVICE_CHALLENGE_LEN, DEVICE_IDENTIFIER_LEN, DEVICE_TICKET_LEN};
use secure_sessions_core::{
    DeviceId, DeviceIdentifier, DeviceKey, DevicePolicy, Handle, Keyring, Millis, StampError, Timestamp,
};
use secure_sessions_fuzz::{FINGERPRINT_KEY, sealer};

/// Hosts' clocks may differ by this much.
const TOLERANCE: u128 = 60_000;

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    text: &'a [u8],
    stamped: Stamped,
    now: u64,
    ticket_life: u32,
    grace: u32,
    /// A bit of the stamped text to flip.
    flip: u16,
}

#[derive(Arbitrary, Debug)]
enum Stamped {
    Ticket { not_after: u64, device: [u8; 16], handle: [u8; 16] },
    Identifier { algorithm: u8, handle: [u8; 16], key: [[u8; 32]; 2] },
    Registration { issued_at: u64, handle: [u8; 16] },
    Refresh { issued_at: u64, device: [u8; 16] },
}

fuzz_target!(|case: Case<'_>| {
    let ring = sealer().keyring();
    garbage_is_refused(ring, case.text);

    let life = u64::from(case.ticket_life);
    let policy = DevicePolicy { ticket_life: Millis::new(life), grace: Millis::new(case.grace.into()) };
    let now = Timestamp::from_millis(case.now);
    let (at, life, grace) = (u128::from(case.now), u128::from(life), u128::from(case.grace));
    // An end that a clock of 64 bits cannot show is the last one that it can.
    let capped = |time: u128| time.min(u64::MAX.into());
    let text = match case.stamped {
        Stamped::Ticket { not_after, device, handle } => {
            let text = device::ticket(&FINGERPRINT_KEY, not_after, &device, &handle);
            let ticket = ring.read_ticket(text.as_bytes()).expect("stamped with our key");
            assert_eq!(ticket.not_after.as_millis(), not_after);
            assert!(ticket.device == DeviceId::from_bytes(device) && ticket.handle == session(handle));
            let end = u128::from(not_after);
            let good = at <= capped(end + grace) && end <= capped(capped(at + life) + TOLERANCE);
            assert_eq!(ticket.is_good(now, &policy), good, "another verdict on the ticket's time");
            if good && at + life <= u64::MAX.into() {
                let issued = ring.issue_ticket(ticket.device, ticket.handle, now, &policy);
                let again = ring.read_ticket(issued.as_bytes()).expect("our own");
                assert!(again.is_good(now, &policy), "a ticket that is not good when it is issued");
            }
            text
        }
        Stamped::Identifier { algorithm, handle, key } => {
            let key: [u8; 64] = key.concat().try_into().expect("two halves");
            let fields = [&[algorithm][..], &handle, &key].concat();
            let text =
                forge::base64url(&[&fields[..], &device::stamp(&FINGERPRINT_KEY, "identifier", &fields)].concat());
            let read = ring.read_identifier(text.as_bytes());
            if algorithm == 1 {
                let identifier = read.expect("stamped with our key");
                assert!(identifier == DeviceIdentifier { key: DeviceKey::from_bytes(key), handle: session(handle) });
                assert_eq!(ring.issue_identifier(&identifier), text, "two spellings of one identifier");
                assert_eq!(identifier.key.id().as_bytes(), &device::device_id(&key));
            } else {
                assert_eq!(read, Err(StampError::Malformed), "an algorithm that nobody knows");
            }
            text
        }
        Stamped::Registration { issued_at, handle } => {
            let text = device::challenge(&FINGERPRINT_KEY, "registration", issued_at, &handle);
            let verdict = ring.is_registration_challenge(text.as_bytes(), of(handle), now, &policy);
            assert_eq!(verdict, Ok(is_young(issued_at, at, life + grace)), "another verdict on the challenge's time");
            let swapped = ring.is_refresh_challenge(text.as_bytes(), DeviceId::from_bytes(handle), now, &policy);
            assert_eq!(swapped, Err(StampError::NotOurs), "a challenge of the other purpose");
            text
        }
        Stamped::Refresh { issued_at, device } => {
            let text = device::challenge(&FINGERPRINT_KEY, "refresh", issued_at, &device);
            let verdict = ring.is_refresh_challenge(text.as_bytes(), DeviceId::from_bytes(device), now, &policy);
            assert_eq!(verdict, Ok(is_young(issued_at, at, life + grace)), "another verdict on the challenge's time");
            let swapped = ring.is_registration_challenge(text.as_bytes(), of(device), now, &policy);
            assert_eq!(swapped, Err(StampError::NotOurs), "a challenge of the other purpose");
            text
        }
    };
    a_changed_text_is_refused(ring, &text, case.flip);
});

/// Nobody finds 16 bytes of HMAC by chance: what was not stamped is never read, and the form is judged as base64 does.
fn garbage_is_refused(ring: &Keyring, text: &[u8]) {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let has = |length| bytes.as_ref().is_some_and(|bytes| bytes.len() == length);
    let now = Timestamp::from_millis(0);
    let policy = DevicePolicy { ticket_life: Millis::from_secs(600), grace: Millis::from_secs(60) };
    let refusals = [
        (ring.read_ticket(text).err(), DEVICE_TICKET_LEN),
        (ring.read_identifier(text).err(), DEVICE_IDENTIFIER_LEN),
        (ring.is_refresh_challenge(text, DeviceId::from_bytes([1; 16]), now, &policy).err(), DEVICE_CHALLENGE_LEN),
        (ring.is_registration_challenge(text, of([1; 16]), now, &policy).err(), DEVICE_CHALLENGE_LEN),
    ];
    for (refusal, length) in refusals {
        let refusal = refusal.expect("nobody stamped this");
        assert_eq!(refusal == StampError::Malformed, !has(length), "another verdict than base64's: {refusal}");
    }
}

fn a_changed_text_is_refused(ring: &Keyring, text: &str, flip: u16) {
    let mut changed = URL_SAFE_NO_PAD.decode(text).expect("canonical");
    let at = usize::from(flip / 8) % changed.len();
    changed[at] ^= 1 << (flip % 8);
    let changed = URL_SAFE_NO_PAD.encode(changed);
    garbage_is_refused(ring, changed.as_bytes());
}

fn is_young(issued_at: u64, now: u128, life: u128) -> bool {
    let issued_at = u128::from(issued_at);
    now <= (issued_at + life).min(u64::MAX.into()) && issued_at <= (now + TOLERANCE).min(u64::MAX.into())
}

/// The handle with these bytes.
fn of(bytes: [u8; 16]) -> Handle {
    forge::base64url(&bytes).parse().expect("16 bytes")
}

/// The session that these bytes name: zeros name none.
fn session(bytes: [u8; 16]) -> Option<Handle> {
    (bytes != [0; 16]).then(|| of(bytes))
}
