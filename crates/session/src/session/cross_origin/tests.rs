use std::sync::{Arc, Mutex};

use super::*;
use crate::{Keyring, MemoryStore};

fn post<'r>(sec_fetch_site: Option<&'r str>, origin: Option<&'r str>) -> Provenance<'r> {
    Provenance { method: "POST", path: "/pay", host: Some("example.org"), sec_fetch_site, origin, is_websocket: false }
}

fn check(configure: impl FnOnce(CrossOriginBuilder) -> CrossOriginBuilder) -> CrossOrigin {
    configure(CrossOrigin::builder()).build().expect("a configuration")
}

#[test]
fn the_rules_are_decided_in_their_order() {
    use CrossOriginReason::{CrossSite, OtherOrigin, SameSite};
    let check = CrossOrigin::default();
    let (own, evil) = (Some("https://example.org"), Some("https://evil.example"));
    for (site, origin, expected) in [
        (Some("same-origin"), own, Ok(())),
        (Some("same-origin"), Some("null"), Ok(())),
        (Some("none"), None, Ok(())),
        (Some("same-site"), own, Err(SameSite)),
        (Some("cross-site"), own, Err(CrossSite)),
        (Some("cross-site"), None, Err(CrossSite)),
        (Some(""), own, Err(CrossSite)),
        (Some("Same-Origin"), own, Err(CrossSite)),
        (Some("same-origin, cross-site"), own, Err(CrossSite)),
        (None, own, Ok(())),
        (None, Some("https://EXAMPLE.org:443"), Ok(())),
        (None, Some("http://example.org"), Ok(())),
        (None, Some("https://example.org:8443"), Err(OtherOrigin)),
        (None, Some("https://example.org.evil.example"), Err(OtherOrigin)),
        (None, Some("https://example.org/"), Err(OtherOrigin)),
        (None, Some("https://evil.example/https://example.org"), Err(OtherOrigin)),
        (None, Some("https://user@example.org"), Err(OtherOrigin)),
        (None, Some("null"), Err(OtherOrigin)),
        (None, Some(""), Err(OtherOrigin)),
        (None, evil, Err(OtherOrigin)),
        (None, None, Ok(())),
    ] {
        assert_eq!(check.decide(&post(site, origin)), expected, "{site:?} {origin:?}");
    }
}

#[test]
fn safe_methods_pass_and_all_others_are_checked_and_a_websocket_is_not_safe() {
    let check = CrossOrigin::default();
    let with = |method| Provenance { method, ..post(Some("cross-site"), None) };
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(check.decide(&with(method)), Ok(()), "{method}");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "get", "PROPFIND", ""] {
        assert_eq!(check.decide(&with(method)), Err(CrossOriginReason::CrossSite), "{method}");
    }
    let websocket = Provenance { is_websocket: true, ..with("GET") };
    assert_eq!(check.decide(&websocket), Err(CrossOriginReason::CrossSite));
    let own = Provenance { sec_fetch_site: None, origin: Some("https://example.org"), ..websocket };
    assert_eq!(check.decide(&own), Ok(()));
}

#[test]
fn a_host_is_compared_with_its_port_and_a_missing_host_matches_nothing() {
    let check = CrossOrigin::default();
    for (host, origin, passes) in [
        (Some("localhost:3000"), "http://localhost:3000", true),
        (Some("localhost:3000"), "http://localhost:3001", false),
        (Some("localhost"), "http://localhost:3000", false),
        (Some("example.org:80"), "http://example.org", true),
        (Some("example.org:80"), "https://example.org", false),
        (Some("[::1]:3000"), "http://[::1]:3000", true),
        (Some("[::1]"), "http://[::1]:80", true),
        (None, "https://example.org", false),
        (Some(""), "https://", false),
    ] {
        let request = Provenance { host, ..post(None, Some(origin)) };
        assert_eq!(check.decide(&request).is_ok(), passes, "{host:?} {origin}");
    }
}

#[test]
fn what_is_trusted_or_exempt_or_allowed_passes_and_nothing_else() {
    let check = check(|builder| {
        builder
            .trusted_origin("https://Accounts.example.org:443")
            .trusted_origin("capacitor://localhost")
            .exempt_path("/hooks/*")
            .allow_same_site(true)
            .require_headers(true)
    });
    for origin in ["https://accounts.example.org", "capacitor://localhost"] {
        assert_eq!(check.decide(&post(Some("cross-site"), Some(origin))), Ok(()));
        assert_eq!(check.decide(&post(None, Some(origin))), Ok(()));
    }
    for origin in ["http://accounts.example.org", "https://accounts.example.org:8443", "https://localhost"] {
        assert!(check.decide(&post(Some("cross-site"), Some(origin))).is_err(), "{origin}");
    }
    assert_eq!(check.decide(&post(Some("same-site"), None)), Ok(()));
    assert_eq!(check.decide(&post(None, None)), Err(CrossOriginReason::NoHeaders));
    let hook = Provenance { path: "/hooks/paid", ..post(Some("cross-site"), None) };
    assert_eq!(check.decide(&hook), Ok(()));
    assert!(check.decide(&Provenance { path: "/hooks/../pay", ..hook }).is_err());
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_what_is_wrong() {
    for origin in
        ["", "null", "*", "https://*.example.org", "example.org", "https://example.org/", "https://a:b", "https://ü"]
    {
        let error = CrossOrigin::builder().trusted_origin(origin).build().expect_err(origin).to_string();
        assert!(error.contains(&format!("`{origin}`")), "{error}");
    }
    let error = CrossOrigin::builder().exempt_path("hooks").build().expect_err("no slash").to_string();
    assert!(error.contains("`hooks`"), "{error}");
}

struct Head(&'static str, Vec<(&'static str, &'static [u8])>);

impl RequestHead for Head {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.1.iter().filter(|(other, _)| *other == name).for_each(|(_, value)| visit(value));
    }

    fn method(&self) -> &str {
        self.0
    }
}

#[test]
fn doubled_or_non_ascii_headers_are_refused_except_for_safe_methods() {
    let check = CrossOrigin::default();
    let (site, origin): (&str, &str) = ("sec-fetch-site", "origin");
    let same: &[u8] = b"same-origin";
    for headers in [
        vec![(site, same), (site, b"cross-site")],
        vec![(site, same), (site, same)],
        vec![(site, same), (origin, b"https://a"), (origin, b"https://b")],
        vec![(site, b"same-origin\xff".as_slice())],
        vec![(origin, b"\xff".as_slice())],
    ] {
        let refused = check.check(&Head("POST", headers.clone()), "/", None).expect_err("malformed");
        assert_eq!(refused.reason, CrossOriginReason::Malformed);
        assert_eq!(check.check(&Head("GET", headers), "/", None), Ok(()));
    }
}

#[test]
fn the_authority_of_the_target_counts_before_the_host_header() {
    let head = Head("POST", vec![("host", b"evil.example"), ("origin", b"https://evil.example")]);
    let check = CrossOrigin::default();
    assert_eq!(check.check(&head, "/", None), Ok(()));
    assert!(check.check(&head, "/", Some("example.org")).is_err());
}

#[test]
fn report_only_refuses_nothing_and_reports_the_origin() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let manager = SessionManager::builder(Keyring::generate().expect("random"), MemoryStore::new())
        .observer(move |event: &Event| kept.lock().expect("no panic").push(event.clone()))
        .build()
        .expect("the defaults");
    let head = Head("POST", vec![("sec-fetch-site", b"cross-site"), ("origin", b"https://evil.example")]);
    let reporting = check(|builder| builder.report_only(true).events_to(&manager));
    assert_eq!(reporting.check(&head, "/", None), Ok(()));
    let refusing = check(|builder| builder.events_to(&manager));
    assert!(refusing.check(&head, "/", None).is_err());
    let origin = || Some("https://evil.example".parse().expect("an origin"));
    let event = |refused| Event::CrossOrigin { reason: CrossOriginReason::CrossSite, origin: origin(), refused };
    assert_eq!(*seen.lock().expect("no panic"), [event(false), event(true)]);
}
