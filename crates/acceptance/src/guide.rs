//! The code in the guide for applications, which uses the adapters. The engine, whose documentation it is, depends on none.

#[doc = include_str!("../../session/src/guide/migrating/actix_session.md")]
struct MigratingActixSession;

#[doc = include_str!("../../session/src/guide/migrating/axum_session.md")]
struct MigratingAxumSession;

#[doc = include_str!("../../session/src/guide/migrating/private_cookies.md")]
struct MigratingPrivateCookies;

#[doc = include_str!("../../session/src/guide/migrating/tower_sessions.md")]
struct MigratingTowerSessions;

#[doc = include_str!("../../session/src/guide/operations/health.md")]
struct OperationsHealth;

#[doc = include_str!("../../session/src/guide/using/apis.md")]
struct UsingApis;

#[doc = include_str!("../../session/src/guide/using/data.md")]
struct UsingData;

#[doc = include_str!("../../session/src/guide/using/deployment.md")]
struct UsingDeployment;

#[doc = include_str!("../../session/src/guide/using/devices.md")]
struct UsingDevices;

#[doc = include_str!("../../session/src/guide/using/errors.md")]
struct UsingErrors;

#[doc = include_str!("../../session/src/guide/using/forms.md")]
struct UsingForms;

#[doc = include_str!("../../session/src/guide/using/login.md")]
struct UsingLogin;

#[doc = include_str!("../../session/src/guide/using/oauth.md")]
struct UsingOauth;

#[doc = include_str!("../../session/src/guide/using/single_logout.md")]
struct UsingSingleLogout;

#[doc = include_str!("../../session/src/guide/using/testing.md")]
struct UsingTesting;

#[doc = include_str!("../../session/src/guide/using/vault.md")]
struct UsingVault;
