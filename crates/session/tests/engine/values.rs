//! In a later request, `get` returns each value that `insert` took, whatever serde does with it in between.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use secure_sessions::{DataError, SessionError, Snapshot, Typed};
use serde::{Deserialize, Serialize};

use crate::support::app;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Place {
    Address(IpAddr),
    Named { name: String, at: IpAddr },
}

#[derive(Default, Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Seen {
    last: Option<Place>,
    #[serde(flatten)]
    others: BTreeMap<String, Place>,
}

#[tokio::test]
async fn an_address_in_an_untagged_value_comes_back_with_the_cookie() {
    let app = app();
    let home = Place::Address(Ipv4Addr::LOCALHOST.into());
    let work = Place::Named { name: "work".to_owned(), at: Ipv4Addr::BROADCAST.into() };
    let (one, both) = (home.clone(), [home.clone(), work.clone()]);
    let cookie = app.visit(None, |session| session.insert("places", &both).unwrap()).await;
    let cookie = app
        .visit(cookie.as_deref(), |session| {
            assert_eq!(session.take::<Vec<Place>>("places").unwrap().unwrap(), both);
            let mut seen = Typed::<Seen>::new(session.clone()).unwrap();
            seen.update(move |seen| seen.last = Some(one.clone())).unwrap();
            session.insert("work", &work).unwrap();
        })
        .await;
    let (_, session) = app.request(cookie.as_deref()).await;
    let seen = Typed::<Seen>::new(session).unwrap();
    assert_eq!(*seen, Seen { last: Some(home), others: [("work".to_owned(), both[1].clone())].into() });
}

#[tokio::test]
async fn a_wide_integer_that_could_not_be_read_back_is_refused_at_insert() {
    #[derive(Serialize)]
    struct Wide {
        amount: u128,
    }
    #[derive(Serialize)]
    struct Order {
        #[serde(flatten)]
        wide: Wide,
    }
    let app = app();
    let (_, session) = app.request(None).await;
    let error = session.insert("order", Order { wide: Wide { amount: 1 } }).unwrap_err();
    assert!(matches!(error, SessionError::Data(DataError::Serialize(_))), "{error}");
    assert!(error.to_string().contains("serde cannot read a u128"), "{error}");
    assert!(session.is_empty());
    session.insert("amount", u128::MAX).unwrap();
    assert_eq!(session.get::<u128>("amount").unwrap(), Some(u128::MAX));
}

#[tokio::test]
async fn a_snapshot_is_the_data_of_its_moment() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.visit(cookie.as_deref(), |session| {
        let n = |snapshot: &Snapshot| snapshot.get::<u32>("n").unwrap();
        let arrived = session.snapshot();
        session.insert("n", 2).unwrap();
        let changed = session.snapshot();
        session.logout().unwrap();
        assert_eq!([n(&arrived), n(&changed), n(&session.snapshot())], [Some(1), Some(2), None]);
        session.insert("n", 3).unwrap();
        assert_eq!([n(&arrived), n(&changed), n(&session.snapshot())], [Some(1), Some(2), Some(3)]);
        assert_eq!(format!("{arrived:?}"), "Snapshot(DataMap { keys: 1, .. })", "it shows no value");
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_after_a_logout_that_keeps_data_has_it() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.visit(cookie.as_deref(), |session| {
        session.logout_keeping_data().unwrap();
        assert_eq!(session.snapshot().get::<u32>("n").unwrap(), Some(1));
        assert_eq!(*session.snapshot(), session.data());
    })
    .await;
}
