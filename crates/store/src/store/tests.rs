use secure_sessions_core::{GroupTag, SubjectTag};

use super::*;
use crate::conformance::sample::session;
use crate::{AnyStore, MemoryStore, Tag};

fn bucket(id: u8, subject: Option<u8>) -> Bucket {
    let subject = subject.map(|tag| SubjectTag::from_bytes([tag; 16]));
    Bucket { subject, ..session(SessionId::from_bytes([id; 16]), Timestamp::from_millis(5)) }
}

#[test]
fn a_full_page_has_a_next_and_a_short_one_has_none() {
    let page = Page::first(2);
    let next = page.next(&[Ok(bucket(1, None)), Ok(bucket(2, None))]).unwrap();
    assert_eq!((next.after, next.limit), (Some(bucket(2, None).id), 2));
    assert!(next.next(&[Ok(bucket(3, None))]).is_none());
    assert!(next.next::<Bucket>(&[]).is_none());
    assert!(Page::first(0).next::<Bucket>(&[]).is_none());
}

#[test]
fn everything_covers_the_anonymous_and_tags_do_not() {
    let tags = [SubjectTag::from_bytes([1; 16])];
    assert!(Which::Everything.covers(&bucket(1, None)));
    assert!(Which::Tagged(Tags::Subjects(&tags)).covers(&bucket(1, Some(1))));
    assert!(!Which::Tagged(Tags::Subjects(&tags)).covers(&bucket(1, Some(2))));
    assert!(!Which::Tagged(Tags::Subjects(&tags)).covers(&bucket(1, None)));
    let groups = [GroupTag::from_bytes([1; 16])];
    assert!(!Which::Tagged(Tags::Groups(&groups)).covers(&bucket(1, Some(1))), "the same bytes are no group");
    let grouped = Bucket { group: Some(groups[0]), ..bucket(1, Some(2)) };
    assert!(Which::Tagged(Tags::Groups(&groups)).covers(&grouped));
    assert_eq!(Tag::of(&grouped).map(|tag| *tag.as_bytes()).collect::<Vec<_>>(), [[2; 16], [1; 16]]);
    assert!(Tag::of(&grouped).all(|tag| tag.is_of(&grouped) && !tag.is_of(&bucket(1, None))));
    assert!(Tags::Groups(&[]).is_empty() && !Tags::Groups(&groups).is_empty());
}

#[tokio::test]
async fn a_clone_of_an_erased_store_is_the_same_store() {
    let store = AnyStore::new(MemoryStore::new());
    store.clone().insert(&bucket(1, None)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
    assert_eq!(format!("{store:?}"), "AnyStore(..)");
}

#[test]
fn only_what_may_pass_is_transient() {
    assert!(StoreError::unavailable("x").is_transient());
    assert!(StoreError::Timeout.is_transient());
    for lasting in [StoreError::Duplicate, StoreError::corrupt("x"), StoreError::rejected("x")] {
        assert!(!lasting.is_transient());
    }
}

#[test]
fn an_error_keeps_its_cause_out_of_its_text() {
    let error = StoreError::unavailable("connection to db-7 lost");
    assert_eq!(error.to_string(), "the session store is unavailable");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "connection to db-7 lost");
}
