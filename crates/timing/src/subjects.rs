//! The subjects of the timing: each comparison of the core's that has a secret on one side, and a comparison that leaks.

use std::hint::black_box;
use std::sync::Arc;

use getrandom::SysRng;
use secure_sessions_core::{
    Bucket, BucketPolicy, Content, DataMap, FIRST_GENERATION, Fingerprint, HandoffKey, Issued, Keyring, Meta, Millis,
    NewBucket, Sealer, SessionId, Sizes, SubjectTag, Timestamp, Token,
};

/// A short function is run this often in one measurement: a clock counts in tens of nanoseconds.
const REPEATS: usize = 64;

/// A function of a secret and of an input that is wrong at its beginning (class 0) or at its end (class 1).
pub(crate) trait Subject {
    fn name(&self) -> &'static str;

    /// Returns `true` if the measurement must find a leak here.
    fn leaks(&self) -> bool {
        false
    }

    /// Returns the function that is to be timed, on an input of this class.
    fn prepare(&self, class: usize) -> Box<dyn FnMut() + '_>;
}

pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(StopsEarly),
        Box::new(Fingerprints),
        Box::new(Csrf::new()),
        Box::new(IssueMark::new()),
        Box::new(Tag::new()),
    ]
}

/// 16 bytes, wrong in the first or in the last.
fn wrong(right: [u8; 16], class: usize) -> [u8; 16] {
    let mut bytes = right;
    bytes[class * 15] ^= 1;
    bytes
}

const SECRET: [u8; 16] = [0x5a; 16];

/// The control: it ends at the first byte that differs.
struct StopsEarly;

impl Subject for StopsEarly {
    fn name(&self) -> &'static str {
        "a comparison that stops early (control)"
    }

    fn leaks(&self) -> bool {
        true
    }

    fn prepare(&self, class: usize) -> Box<dyn FnMut() + '_> {
        let (kept, presented) = (black_box(SECRET), black_box(wrong(SECRET, class)));
        Box::new(move || {
            for _ in 0..REPEATS {
                black_box(black_box(&kept).iter().zip(black_box(&presented)).all(|(one, two)| one == two));
            }
        })
    }
}

/// A token's fingerprint and its bucket's.
struct Fingerprints;

impl Subject for Fingerprints {
    fn name(&self) -> &'static str {
        "fingerprint"
    }

    fn prepare(&self, class: usize) -> Box<dyn FnMut() + '_> {
        let kept = black_box(Fingerprint::from_bytes(SECRET));
        let presented = black_box(Fingerprint::from_bytes(wrong(SECRET, class)));
        Box::new(move || {
            for _ in 0..REPEATS {
                black_box(black_box(&kept).matches(black_box(&presented)));
            }
        })
    }
}

/// A CSRF token of another session, of which one byte is right or all but one are.
struct Csrf {
    keyring: Keyring,
    id: SessionId,
    presented: [String; 2],
}

impl Csrf {
    fn new() -> Self {
        let keyring = Keyring::generate(&mut SysRng).expect("randomness");
        let id = SessionId::random(&mut SysRng).expect("randomness");
        let right = keyring.csrf_token(&id, &mut SysRng).expect("randomness");
        // 86 characters: the mask takes the first 42 and two thirds, the masked secret the rest.
        let wrong = |at: usize| {
            let mut text = right.clone();
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            text.replace_range(at..=at, other);
            text
        };
        Self { presented: [wrong(44), wrong(84)], keyring, id }
    }
}

impl Subject for Csrf {
    fn name(&self) -> &'static str {
        "CSRF token"
    }

    fn prepare(&self, class: usize) -> Box<dyn FnMut() + '_> {
        let presented = self.presented[class].clone();
        Box::new(move || {
            for _ in 0..4 {
                black_box(self.keyring.is_csrf_token_of(black_box(&presented), &self.id));
            }
        })
    }
}

/// A site with one session.
struct Site {
    sealer: Sealer,
    token: Token,
    bucket: Bucket,
}

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_760_000_000_000);
const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };

impl Site {
    fn new() -> Self {
        let keyring = Arc::new(Keyring::generate(&mut SysRng).expect("randomness"));
        let sizes = Sizes::default_for(7).expect("a short name");
        let sealer = Sealer::new(keyring, "session", sizes).expect("a short name");
        let id = SessionId::random(&mut SysRng).expect("randomness");
        let handoff_key = HandoffKey::random(&mut SysRng).expect("randomness");
        let mut meta = Meta::default();
        meta.subject = Some("alice".to_owned());
        let content = Content {
            session_id: id,
            handoff_key: &handoff_key,
            generation: FIRST_GENERATION,
            issued_at: NOW,
            expires_at: LATER,
            meta: &meta,
            data: &DataMap::new(),
        };
        let Issued { token, fingerprint, subject, group } = sealer.seal(&content, &mut SysRng).expect("little data");
        let new =
            NewBucket { id, subject, group, label: None, expires_at: LATER, idle_timeout: None, first: fingerprint };
        Self { bucket: Bucket::create(new, NOW), sealer, token }
    }
}

/// A token that somebody made with the seal key alone.
struct IssueMark {
    site: Site,
    presented: [Token; 2],
}

impl IssueMark {
    fn new() -> Self {
        let site = Site::new();
        let wrong = |from_end: usize| {
            let mut bytes = site.token.as_bytes().to_vec();
            let at = bytes.len() - from_end;
            bytes[at] ^= 1;
            Token::from_bytes(bytes).expect("as long as before")
        };
        Self { presented: [wrong(16), wrong(1)], site }
    }
}

impl Subject for IssueMark {
    fn name(&self) -> &'static str {
        "issue mark, in opening a token"
    }

    fn prepare(&self, class: usize) -> Box<dyn FnMut() + '_> {
        let mut token = Some(self.presented[class].clone());
        Box::new(move || {
            if let Some(token) = token.take() {
                let _ = black_box(self.site.sealer.open(black_box(token)));
            }
        })
    }
}

/// A bucket whose subject somebody changed.
struct Tag {
    site: Site,
    buckets: [Bucket; 2],
}

impl Tag {
    fn new() -> Self {
        let site = Site::new();
        let right = *site.bucket.subject.expect("alice's").as_bytes();
        let with = |class| Bucket { subject: Some(SubjectTag::from_bytes(wrong(right, class))), ..site.bucket.clone() };
        Self { buckets: [with(0), with(1)], site }
    }
}

impl Subject for Tag {
    fn name(&self) -> &'static str {
        "subject tag, in admission"
    }

    fn prepare(&self, class: usize) -> Box<dyn FnMut() + '_> {
        // Both classes from one place in memory: where a thing lies must not tell them apart.
        let bucket = self.buckets[class].clone();
        let mut opened = self.site.sealer.open(self.site.token.clone()).ok();
        Box::new(move || {
            if let Some(opened) = opened.take() {
                let _ = black_box(self.site.sealer.admit(black_box(&bucket), opened, NOW, None, &POLICY));
            }
        })
    }
}
