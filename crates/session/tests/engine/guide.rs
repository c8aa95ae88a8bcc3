//! Checks that the guide's table of errors agrees with the errors.

use std::collections::BTreeMap;
use std::time::Duration;

use secure_sessions::{DataError, LabelError, MetaError, RandomError, SessionError, StoreError, VaultError};

const PAGE: &str = include_str!("../../src/guide/using/errors.md");
const SOURCE: &str = include_str!("../../src/error.rs");

/// The statuses by the errors' names: the first two cells of each row of the page's first table.
fn rows() -> BTreeMap<&'static str, u16> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with("| error |")).skip(2);
    let mut rows = BTreeMap::new();
    for row in table.take_while(|line| line.starts_with('|')) {
        let mut cells = row.split('|').skip(1);
        let (names, status) = (cells.next().unwrap(), cells.next().unwrap().trim().parse().unwrap());
        rows.extend(names.split('`').skip(1).step_by(2).map(|name| (name, status)));
    }
    rows
}

/// The names of the enum's variants.
fn variants() -> Vec<&'static str> {
    let body = SOURCE.split_once("pub enum SessionError {\n").unwrap().1.split_once("\n}").unwrap().0;
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let declared = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let mut names: Vec<_> = declared.map(|line| line.split([' ', '(', ',']).next().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn the_guides_table_lists_every_error_with_its_status() {
    let rows = rows();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), variants());
    let hour = Duration::from_secs(3600);
    let errors = [
        ("TooLarge", SessionError::TooLarge { key: None, size: 3000, limit: 2800 }),
        ("Data", SessionError::Data(DataError::NotAMap)),
        ("Meta", SessionError::Meta(MetaError::SubjectEmpty)),
        ("Label", SessionError::Label(LabelError::TooLong { length: 513 })),
        ("Flash", SessionError::Flash { length: 513 }),
        ("Csrf", SessionError::Csrf),
        ("Ended", SessionError::Ended),
        ("Conflict", SessionError::Conflict),
        ("Finished", SessionError::Finished),
        ("ChangedInsideUpdate", SessionError::ChangedInsideUpdate),
        ("NotLoggedIn", SessionError::NotLoggedIn),
        ("LogInAt", SessionError::LogInAt { location: "/login".to_owned() }),
        ("NotAllowed", SessionError::NotAllowed { permission: "Admin" }),
        ("Subject", SessionError::Subject { wanted: "u64" }),
        ("User", SessionError::User("no database".into())),
        ("NoState", SessionError::NoState { state: "Db", hint: "add it" }),
        ("AuthenticationTooOld", SessionError::AuthenticationTooOld { age: None, max_age: hour }),
        ("AssuranceTooLow", SessionError::AssuranceTooLow { level: None, required: 2 }),
        ("DeviceRequired", SessionError::DeviceRequired),
        ("ProofTooOld", SessionError::ProofTooOld { age: hour, max_age: hour, location: Some("/pay".to_owned()) }),
        ("ProofRefused", SessionError::ProofRefused { reason: "nonce" }),
        ("TooManySessions", SessionError::TooManySessions { limit: 3 }),
        ("NoSuchSession", SessionError::NoSuchSession),
        ("NotBefore", SessionError::NotBefore { ahead: hour }),
        ("NoBearer", SessionError::NoBearer("it is off")),
        ("Vault", SessionError::Vault { key: None, source: VaultError::TooManyValues }),
        ("InVault", SessionError::InVault { key: "tokens".into() }),
        ("VaultLost", SessionError::VaultLost { key: "tokens".into() }),
        ("NoVault", SessionError::NoVault),
        ("Store", SessionError::Store(StoreError::Timeout)),
        ("Random", SessionError::Random(RandomError)),
        ("NoLayer", SessionError::NoLayer("add it")),
    ];
    for (name, error) in &errors {
        assert_eq!(rows[name], error.status(), "{name}");
    }
    assert_eq!(errors.len(), rows.len());
}
