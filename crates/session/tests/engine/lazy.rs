//! Lazy means lazy: a value is decoded when somebody asks for it, and no other is.

use std::cell::Cell;

use secure_sessions::{Session, Typed};
use serde::{Deserialize, Deserializer, Serialize};

use crate::support::app;

thread_local! {
    /// The number of [`Counted`] that were decoded by this test, which has a thread of its own.
    static DECODED: Cell<u32> = const { Cell::new(0) };
}

/// A number that counts how often one is decoded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
struct Counted(u32);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.set(DECODED.get() + 1);
        u32::deserialize(deserializer).map(Self)
    }
}

/// Calls `run`, and counts the values that it decodes.
fn decoded<T>(run: impl FnOnce() -> T) -> (T, u32) {
    let before = DECODED.get();
    let result = run();
    (result, DECODED.get() - before)
}

fn key(number: u32) -> String {
    format!("key {number}")
}

fn with_a_hundred_keys(session: &Session) {
    (0..100).for_each(|number| session.insert(&key(number), Counted(number)).unwrap());
}

#[tokio::test]
async fn of_a_hundred_keys_one_read_decodes_one_value() {
    let app = app();
    let cookie = app.visit(None, with_a_hundred_keys).await;
    DECODED.set(0);
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!(DECODED.get(), 0, "loading decodes none");
    for number in [0, 50, 99] {
        let (value, times) = decoded(|| session.get(&key(number)).unwrap());
        assert_eq!((value, times), (Some(Counted(number)), 1));
    }
    let (_, times) = decoded(|| session.get::<Counted>("no such key").unwrap());
    assert_eq!(times, 0);
    request.finish(200).await;
    assert_eq!(DECODED.get(), 3, "the end of a request decodes none");
}

#[tokio::test]
async fn keys_are_named_counted_and_removed_without_decoding_a_value() {
    let app = app();
    let cookie = app.visit(None, with_a_hundred_keys).await;
    DECODED.set(0);
    let left = app
        .visit(cookie.as_deref(), |session| {
            assert!(session.contains_key(&key(7)) && !session.is_empty());
            assert_eq!(session.keys().len(), 100);
            assert!(session.remove(&key(7)).unwrap());
        })
        .await;
    let (_, session) = app.request(left.as_deref()).await;
    assert_eq!(session.keys().len(), 99);
    assert_eq!(DECODED.get(), 0);
}

#[tokio::test]
async fn of_a_hundred_keys_an_update_decodes_the_one_value_that_it_changes() {
    let app = app();
    let cookie = app.visit(None, with_a_hundred_keys).await;
    DECODED.set(0);
    let count_up = |session: &Session| {
        session.update(&key(50), |value: &mut Counted| value.0 += 1).unwrap();
    };
    let newest = app.visit(cookie.as_deref(), count_up).await;
    assert_eq!(DECODED.get(), 1, "the commit takes what the handler left");
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(session.get(&key(50)).unwrap(), Some(Counted(51)));
}

#[derive(Default, Serialize, Deserialize)]
struct Shop {
    cart: Counted,
    visits: Counted,
}

#[tokio::test]
async fn a_typed_session_decodes_each_field_once_however_often_it_is_looked_at() {
    let app = app();
    let fill = |session: &Session| {
        session.insert("cart", Counted(1)).unwrap();
        session.insert("visits", Counted(2)).unwrap();
        with_a_hundred_keys(session);
    };
    let cookie = app.visit(None, fill).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    let (shop, times) = decoded(|| Typed::<Shop>::new(session).unwrap());
    assert_eq!(times, 2, "two fields; the hundred keys beside them are none");
    let (_, times) = decoded(|| {
        for _ in 0..100 {
            assert_eq!((shop.cart, shop.visits), (Counted(1), Counted(2)));
        }
        drop(shop);
    });
    assert_eq!(times, 0);
    let (_, times) = decoded(|| request.finish(200));
    assert_eq!(times, 0);
}
