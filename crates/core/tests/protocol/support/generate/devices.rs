//! The cases of `device.json`.

use forge::device::{self, Device};
use secure_sessions_core::{DeviceIdentifier, DeviceKey, DevicePolicy, Millis, SessionId, Timestamp};

use super::{ISSUED_AT, fingerprint_text, key, keys};
use crate::support::random::Stream;
use crate::support::vectors::DeviceCase;
use crate::support::{hex, raw};

const POLICY: DevicePolicy = DevicePolicy { ticket_life: Millis::from_secs(600), grace: Millis::from_secs(60) };

pub(super) fn cases() -> Vec<DeviceCase> {
    let mut cases = Vec::new();
    for (label, name, now) in [
        ("fingerprint 1", "a device", ISSUED_AT),
        ("fingerprint 1", "another device", ISSUED_AT + 1),
        ("fingerprint 2", "a device under another key", ISSUED_AT),
    ] {
        let mut random = Stream::new(&format!("secure-sessions test vectors, device {name}"));
        let id = SessionId::random(&mut random).expect("random");
        let private_key: [u8; 32] = random.bytes();
        let signer = Device::new(&private_key);
        let ring = keys(&["seal 1"], &[label]).ring();
        let (public, handle, now) = (signer.public_key(), ring.handle(&id), Timestamp::from_millis(now));
        let device = DeviceKey::from_bytes(public);
        let registration_challenge = ring.registration_challenge(handle, now);
        let refresh_challenge = ring.refresh_challenge(device.id(), now);
        let case = DeviceCase {
            name: name.to_owned(),
            key: fingerprint_text(label),
            session_id: hex::encode(id.as_bytes()),
            handle: handle.to_string(),
            private_key: hex::encode(&private_key),
            public_key: hex::encode(&public),
            device: hex::encode(device.id().as_bytes()),
            now: now.as_millis(),
            ticket_life: POLICY.ticket_life.get(),
            identifier: ring.issue_identifier(&DeviceIdentifier { key: device, handle: Some(handle) }),
            ticket: ring.issue_ticket(device.id(), Some(handle), now, &POLICY),
            registration_proof: signer.registration(&registration_challenge, &handle.to_string()),
            refresh_proof: signer.refresh(&refresh_challenge),
            registration_challenge,
            refresh_challenge,
            dpop_nonce: ring.dpop_nonce(now),
        };
        // The same, written a second time.
        let (fingerprint_key, handle) = (key(label), handle.to_bytes());
        let not_after = now.after(POLICY.ticket_life).as_millis();
        assert_eq!(hex::decode(&case.device), device::device_id(&public));
        assert_eq!(handle, raw::hmac(&raw::derive(&fingerprint_key, "handle"), id.as_bytes())[..16]);
        assert_eq!(case.identifier, device::identifier(&fingerprint_key, &handle, &public));
        assert_eq!(case.ticket, device::ticket(&fingerprint_key, not_after, &signer.id(), &handle));
        let challenge = |purpose, of| device::challenge(&fingerprint_key, purpose, now.as_millis(), of);
        assert_eq!(case.registration_challenge, challenge("registration", &handle));
        assert_eq!(case.dpop_nonce, challenge("dpop", &[0; 16]));
        assert_eq!(case.refresh_challenge, challenge("refresh", &signer.id()));
        cases.push(case);
    }
    cases
}
