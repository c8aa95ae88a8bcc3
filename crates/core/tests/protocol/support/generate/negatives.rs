//! The cases of `negative.json`.

use std::cell::RefCell;

use super::{COOKIE, EXPIRES_AT, ISSUED_AT, fingerprint_text, key, keys, seal_text};
use crate::support::random::Stream;
use crate::support::vectors::{Keys, NegativeCase};
use crate::support::{hex, raw};

pub(super) fn cases() -> Vec<NegativeCase> {
    let (seal, fingerprint) = (key("seal 1"), key("fingerprint 1"));
    let nonce: [u8; 24] = Stream::new("secure-sessions test vectors, negative").bytes();
    let plaintext = raw::Plaintext {
        session_id: [1; 16],
        handoff_key: [2; 32],
        generation: 1,
        issued_at: ISSUED_AT,
        expires_at: EXPIRES_AT,
        meta: vec![0xa0],
        data: vec![0xa0],
        // One byte over a multiple of three, so that the last character has bits to spare.
        bloat: vec![3; 63],
    };
    let made = |bytes: &[u8]| raw::token(&seal, &fingerprint, COOKIE, &nonce, bytes).0;
    let cookie = raw::base64url;
    let good_bytes = made(&plaintext.to_bytes());
    let good = cookie(&good_bytes);
    assert_eq!(good.len() % 4, 2);
    let with = |change: &dyn Fn(&mut raw::Plaintext)| -> String {
        let mut changed = plaintext.clone();
        change(&mut changed);
        cookie(&made(&changed.to_bytes()))
    };
    let changed_at = |at: usize| {
        let mut bytes = good_bytes.clone();
        bytes[at] ^= 0x01;
        cookie(&bytes)
    };

    let cases = RefCell::new(Vec::new());
    let refuse_by = |keyring: Keys, refused: &str, name: &str, cookie: String| {
        cases.borrow_mut().push(NegativeCase {
            name: name.to_owned(),
            keyring,
            context: COOKIE.to_owned(),
            cookie,
            refused: refused.to_owned(),
        });
    };
    let refuse = |refused: &str, name: &str, cookie: String| {
        refuse_by(keys(&["seal 1"], &["fingerprint 1"]), refused, name, cookie);
    };

    refuse("too_short", "nothing", String::new());
    refuse("too_short", "one character fewer than the shortest token", "A".repeat(227));
    refuse("too_long", "one character more than the longest token", "A".repeat(4096));
    refuse("not_canonical", "padding", format!("{good}=="));
    refuse("not_canonical", "a length that no bytes have", format!("{good}AAA"));
    refuse("not_canonical", "the alphabet with + and /", good.replace(['-', '_'], "+"));
    refuse("not_canonical", "quotes", format!("\"{good}\""));
    refuse("not_canonical", "a percent sign", format!("{}%41", &good[3..]));
    refuse("not_canonical", "white space at the end", format!("{good} "));
    refuse("not_canonical", "a line feed inside", format!("{}\n{}", &good[..100], &good[101..]));
    refuse("not_canonical", "trailing bits that are not zero", {
        // The last character stands for two bits, and so is one of these; the next one has a bit more.
        let (rest, last) = good.split_at(good.len() - 1);
        let next = match last {
            "A" => 'B',
            "Q" => 'R',
            "g" => 'h',
            "w" => 'x',
            other => panic!("{other} is not canonical"),
        };
        format!("{rest}{next}")
    });
    refuse("version", "version 0", cookie(&[&[0], &good_bytes[1..]].concat()));
    for version in [2, 255] {
        let name = format!("version {version}");
        refuse("later_version", &name, cookie(&[&[version], &good_bytes[1..]].concat()));
    }

    refuse("unknown_seal_key", "another seal key id", changed_at(1));
    refuse("unknown_fingerprint_key", "another fingerprint key id", changed_at(8));
    refuse("unknown_seal_key", "a seal key that is not in the ring", {
        cookie(&raw::token(&key("seal 2"), &fingerprint, COOKIE, &nonce, &plaintext.to_bytes()).0)
    });
    refuse("unknown_fingerprint_key", "a fingerprint key that is not in the ring", {
        cookie(&raw::token(&seal, &key("fingerprint 2"), COOKIE, &nonce, &plaintext.to_bytes()).0)
    });

    refuse("not_authentic", "the first byte of the nonce changed", changed_at(9));
    refuse("not_authentic", "the first byte of the ciphertext changed", changed_at(33));
    refuse("not_authentic", "the last byte of the tag changed", changed_at(good_bytes.len() - 17));
    refuse("not_authentic", "of another cookie", {
        cookie(&raw::token(&seal, &fingerprint, "session", &nonce, &plaintext.to_bytes()).0)
    });
    refuse("not_authentic", "cut off by one byte", cookie(&good_bytes[..good_bytes.len() - 1]));
    refuse("not_authentic", "nothing but zeros after the key ids", {
        let mut bytes = good_bytes.clone();
        bytes[9..].fill(0);
        cookie(&bytes)
    });

    refuse("not_authentic", "one bit of the ciphertext flipped, and marked with the stolen fingerprint key alone", {
        let mut unmarked = good_bytes[..good_bytes.len() - 16].to_vec();
        unmarked[40] ^= 1;
        let (issue, _) = raw::mark_under(&raw::derive(&fingerprint, "fingerprint"), COOKIE, &unmarked);
        cookie(&[&unmarked[..], &issue].concat())
    });

    refuse("unmarked", "the first byte of the issue mark changed", changed_at(good_bytes.len() - 16));
    refuse("unmarked", "the last byte of the issue mark changed", changed_at(good_bytes.len() - 1));
    refuse("unmarked", "another session id, sealed with the stolen seal key", {
        let mut changed = plaintext.clone();
        changed.session_id = [7; 16];
        let unmarked = raw::unmarked(&seal, raw::key_id(&fingerprint), COOKIE, &nonce, &changed.to_bytes());
        cookie(&[&unmarked[..], &good_bytes[good_bytes.len() - 16..]].concat())
    });
    let leaked = |seal: &[&str], fingerprint: &[&str], compromised: String| Keys {
        compromised: vec![compromised],
        ..keys(seal, fingerprint)
    };
    let wrong_tag = {
        let mut unmarked = good_bytes[..good_bytes.len() - 16].to_vec();
        unmarked[40] ^= 1;
        let (issue, _) = raw::mark(&seal, &fingerprint, COOKIE, &unmarked);
        cookie(&[&unmarked[..], &issue].concat())
    };
    for ring in [
        leaked(&["seal 2"], &["fingerprint 1"], seal_text("seal 1")),
        leaked(&["seal 1"], &["fingerprint 2"], fingerprint_text("fingerprint 1")),
    ] {
        refuse_by(ring, "forged", "a right mark and a wrong tag under a key that has leaked", wrong_tag.clone());
    }

    // From here on both keys are stolen: the content is all that is wrong.
    let sealed = |bytes: &[u8]| cookie(&made(bytes));
    refuse("malformed", "a meta length beyond the end", {
        let mut bytes = plaintext.to_bytes();
        bytes[68..70].fill(0xff);
        sealed(&bytes)
    });
    refuse("malformed", "a data length beyond the end", {
        let mut bytes = plaintext.to_bytes();
        bytes[71..73].fill(0xff);
        sealed(&bytes)
    });
    refuse(
        "malformed",
        "31 bytes of bloat",
        with(&|p| {
            p.data = hex::decode("a1616b63787878");
            p.bloat.truncate(31);
        }),
    );
    for (name, meta) in [
        ("no meta", ""),
        ("meta with a byte after its end", "a000"),
        ("meta of indefinite length", "bfff"),
        ("meta with a text key", "a1617301"),
        ("meta keys that descend", "a204f50301"),
        ("a meta key twice", "a204f504f5"),
        ("a subject that is no text", "a201010b5000000000000000000000000000000000"),
        ("a subject that is no UTF-8", "a20161ff0b5000000000000000000000000000000000"),
        ("a subject without its tag", "a1016161"),
        ("a tag without its subject", "a10b5000000000000000000000000000000000"),
        ("a subject's tag of 15 bytes", "a20161610b4f000000000000000000000000000000"),
        ("a critical entry and an entry twice", "a318200018200004f5"),
        ("an assurance level of 256", "a103190100"),
        ("meta cut off", "a203"),
    ] {
        refuse("malformed", name, with(&|p| p.meta = hex::decode(meta)));
    }
    refuse(
        "malformed",
        "a subject of 513 bytes",
        with(&|p| {
            p.meta = [&hex::decode("a201790201")[..], &[b'x'; 513], &hex::decode("0b50"), &[0; 16]].concat();
        }),
    );
    refuse(
        "malformed",
        "a binding of 65 bytes",
        with(&|p| {
            p.meta = [&hex::decode("a1075841")[..], &[b'x'; 65]].concat();
        }),
    );
    for (name, meta) in
        [("the first critical entry", "a1182000"), ("a critical entry among others", "a30301186380190100a0")]
    {
        refuse("critical", name, with(&|p| p.meta = hex::decode(meta)));
    }
    for (name, data) in [
        ("no data", ""),
        ("data of indefinite length", "bfff"),
        ("data that is an array", "80"),
        ("more entries counted than can be there", "a2616101"),
        ("2^64 - 1 entries", "bbffffffffffffffff"),
    ] {
        refuse("malformed", name, with(&|p| p.data = hex::decode(data)));
    }
    cases.into_inner()
}
