//! The independent program, `testvectors/verify.py`: the format written from the design alone in another language.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use secure_sessions_core::{
    Bucket, BucketPolicy, FingerprintKey, Millis, NewBucket, SealKey, Sealer, SizeClasses, Sizes, Timestamp, Token,
    Verdict,
};
use serde_json::{Value, json};

use crate::support::fixtures::{CONTEXT, FINGERPRINT, SEAL, ring};

/// Returns `true` if the program can run. Otherwise the tests are skipped, but not in CI.
fn is_there() -> bool {
    let imports = Command::new("python3").args(["-c", "from Crypto.Cipher import ChaCha20_Poly1305"]).output();
    let there = imports.is_ok_and(|output| output.status.success());
    if !there {
        let missing = "python3 with PyCryptodome is not installed (pip install pycryptodome)";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "independent_program: {missing}");
        // Not `println!`: the harness hides what a passing test prints that way.
        writeln!(std::io::stdout(), "SKIPPED independent_program: {missing}").expect("a standard output");
    }
    there
}

fn program() -> Command {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "testvectors", "verify.py"].iter().collect();
    let mut command = Command::new("python3");
    command.arg("-B").arg(path);
    command
}

fn succeeded(output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    stdout.into_owned()
}

#[test]
fn an_independent_program_opens_and_reproduces_every_frozen_vector() {
    if !is_there() {
        return;
    }
    let report = succeeded(&program().output().expect("python3 starts"));
    for file in ["keys.json", "token.json", "handoff.json", "tags.json", "data.json", "vault.json", "negative.json"] {
        assert!(report.contains(file), "{report}");
    }
}

fn sealed_by_the_program(wanted: &Value) -> String {
    let mut child = program()
        .arg("seal")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(wanted.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    succeeded(&child.wait_with_output().expect("it ends")).trim_end().to_owned()
}

#[test]
fn a_token_that_the_independent_program_sealed_is_opened_and_admitted() {
    if !is_there() {
        return;
    }
    let sizes = |classes| Sizes::new(CONTEXT.len(), 4000, classes).expect("sizes");
    for (classes, as_json, plaintext_len) in [
        (SizeClasses::default(), json!({"step": 128}), 256),
        (SizeClasses::List(vec![300, 600]), json!({"list": [300, 600]}), 300),
        (SizeClasses::Fixed, json!("fixed"), sizes(SizeClasses::Fixed).max_plaintext()),
    ] {
        let issued_at = 1_750_000_000_123_u64;
        let cookie = sealed_by_the_program(&json!({
            "seal_key": SealKey::from_bytes(SEAL).to_text().as_str(),
            "fingerprint_key": FingerprintKey::from_bytes(FINGERPRINT).to_text().as_str(),
            "context": CONTEXT,
            "limit": 4000,
            "size_classes": as_json,
            "session_id": "0f".repeat(16),
            "handoff_key": "f0".repeat(32),
            "generation": 42,
            "issued_at": issued_at,
            "expires_at": issued_at + 1000,
            "meta": {"subject": "Zoë", "persistent": true, "assurance_level": 2},
            "data": {"n": 7, "cart": [{"name": "Bücher", "count": -3}, null, true]},
        }));
        assert_eq!(CONTEXT.len() + cookie.len(), sizes(classes.clone()).cookie_len(plaintext_len));

        let sealer = Sealer::new(ring(&[SEAL], &[FINGERPRINT]), CONTEXT, sizes(classes)).expect("a context");
        let opened = sealer.open(Token::decode(cookie.as_bytes()).expect("canonical")).expect("with our keys");
        assert_eq!(opened.session_id().as_bytes(), &[0x0f; 16]);
        let new = NewBucket {
            id: opened.session_id(),
            subject: Some(sealer.subject_tag("Zoë")),
            group: None,
            label: None,
            expires_at: Timestamp::from_millis(issued_at + 1000),
            idle_timeout: None,
            first: opened.fingerprint(),
        };
        let mut bucket = Bucket::create(new, Timestamp::from_millis(issued_at));
        bucket.generation = 42;
        let policy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };
        let now = Timestamp::from_millis(issued_at + 1);
        let Verdict::Current(admitted) = sealer.admit(&bucket, opened, now, None, &policy) else {
            panic!("not admitted")
        };
        assert_eq!(admitted.meta.subject.as_deref(), Some("Zoë"));
        assert_eq!((admitted.meta.persistent, admitted.meta.assurance_level), (Some(true), Some(2)));
        assert_eq!(admitted.data.get::<u8>("n").expect("a number"), Some(7));
        let cart: Value = admitted.data.get("cart").expect("any value").expect("there");
        assert_eq!(cart, json!([{"name": "Bücher", "count": -3}, null, true]));
    }
}
