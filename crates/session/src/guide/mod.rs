//! For authors of applications: [`using`] sessions, and [`migrating`] from another library.
//!
//! For reviewers and operators: what is protected and what is not, which standard is met by what, and how it is run.
//!
//! | chapter | answers |
//! | --- | --- |
//! | [`protocol`] | the bytes that travel, the server's memory, how the two are compared, and a glossary |
//! | [`threat_model`] | what an attacker gets who has a key, the store, a cookie; and what nothing here protects |
//! | [`standards`] | OWASP ASVS 5.0 and WSTG, NIST SP 800-63B-4, RFC 6265bis, RFC 9700: each line, and what meets it |
//! | [`csrf`] | which defence against requests of other sites is wanted when |
//! | [`operations`] | events, metrics, the health check, the audit log, limits |
//! | [`operations::health`] | the route for a load balancer's probe, in each framework |
//! | [`operations::runbook`] | what to do when the store is down, a key has leaked, a backup was restored, an alert fires |
//! | [`privacy`] | what is stored of a person, where and how long; erasure, access and retention under the GDPR |
//! | [`frameworks`] | how Leptos, Dioxus and loco take these sessions, and crates that want another session |
//!
//! A claim names the test that shows it: `cargo xtask claims` checks that each exists. Tests whose names begin with `c` and
//! a number, or with `wstg`, run over real sockets against every adapter and store.

#[doc = include_str!("csrf.md")]
pub mod csrf {}

#[doc = include_str!("frameworks.md")]
pub mod frameworks {}

// The code in the guide for applications is an adapter's. The crate `acceptance` tests it, since it depends on all of them.

#[cfg_attr(not(doctest), doc = include_str!("migrating.md"))]
pub mod migrating {
    #[cfg_attr(not(doctest), doc = include_str!("migrating/actix_session.md"))]
    pub mod actix_session {}

    #[cfg_attr(not(doctest), doc = include_str!("migrating/axum_session.md"))]
    pub mod axum_session {}

    #[cfg_attr(not(doctest), doc = include_str!("migrating/private_cookies.md"))]
    pub mod private_cookies {}

    #[cfg_attr(not(doctest), doc = include_str!("migrating/tower_sessions.md"))]
    pub mod tower_sessions {}
}

#[doc = include_str!("operations.md")]
pub mod operations {
    #[cfg_attr(not(doctest), doc = include_str!("operations/health.md"))]
    pub mod health {}

    #[doc = include_str!("operations/runbook.md")]
    pub mod runbook {}
}

#[doc = include_str!("privacy.md")]
pub mod privacy {}

#[doc = include_str!("protocol.md")]
pub mod protocol {}

#[doc = include_str!("standards.md")]
pub mod standards {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[cfg_attr(not(doctest), doc = include_str!("using.md"))]
pub mod using {
    #[cfg_attr(not(doctest), doc = include_str!("using/apis.md"))]
    pub mod apis {}

    #[cfg_attr(not(doctest), doc = include_str!("using/data.md"))]
    pub mod data {}

    #[cfg_attr(not(doctest), doc = include_str!("using/deployment.md"))]
    pub mod deployment {}

    #[cfg_attr(not(doctest), doc = include_str!("using/devices.md"))]
    pub mod devices {}

    #[cfg_attr(not(doctest), doc = include_str!("using/errors.md"))]
    pub mod errors {}

    #[cfg_attr(not(doctest), doc = include_str!("using/forms.md"))]
    pub mod forms {}

    #[cfg_attr(not(doctest), doc = include_str!("using/login.md"))]
    pub mod login {}

    #[cfg_attr(not(doctest), doc = include_str!("using/oauth.md"))]
    pub mod oauth {}

    #[cfg_attr(not(doctest), doc = include_str!("using/single_logout.md"))]
    pub mod single_logout {}

    #[cfg_attr(not(doctest), doc = include_str!("using/testing.md"))]
    pub mod testing {}

    #[cfg_attr(not(doctest), doc = include_str!("using/vault.md"))]
    pub mod vault {}
}
