//! The examples that the help of each command ends with.

pub(crate) const ALL: &str = "\
Stores, for --store:
  sqlite:sessions.db                          a file of SQLite
  postgres://USER:PASSWORD@HOST/DATABASE      PostgreSQL
  mysql://USER:PASSWORD@HOST/DATABASE         MySQL or MariaDB
  redis://HOST:PORT/                          Redis; rediss: with TLS
  redis://HOST:PORT/,redis://HOST:PORT/       the nodes of a Redis cluster
  redis+sentinel://HOST:PORT,HOST:PORT/NAME   a Redis, by its sentinels
  etcd:http://HOST:PORT,http://HOST:PORT      the nodes of an etcd without authentication
  dynamodb:TABLE                              a table of DynamoDB, by AWS_REGION and the credentials in the environment
  memcached:tcp://HOST:PORT                   a Memcached
A list of processes shows command lines: put a URL with a password into SECURE_SESSIONS_STORE.

A first day:
  secure-sessions keys new keys.txt
  export SECURE_SESSIONS_KEY_FILE=keys.txt SECURE_SESSIONS_STORE=sqlite:sessions.db
  secure-sessions migrate
  secure-sessions doctor
  secure-sessions sessions list alice
Start the application with the same keys, store, table or prefix, and cookie name.";

pub(crate) const KEYS_NEW: &str = "\
Examples:
  secure-sessions keys new keys.txt
  secure-sessions keys new --env";

pub(crate) const KEYS_LIST: &str = "\
Examples:
  secure-sessions --keys keys.txt keys list
  secure-sessions --keys keys.txt keys list --json";

pub(crate) const KEYS_ROTATE: &str = "\
Examples, to change the seal key; `keys list` prints the ids:
  secure-sessions --keys keys.txt keys rotate --add seal
  secure-sessions --keys keys.txt keys rotate --activate NEW-ID
  secure-sessions --keys keys.txt keys rotate --drop OLD-ID
After each step, copy the file to every host before you take the next one.
Run it as the file's owner. If root runs it, the file keeps its owner, group and mode.";

pub(crate) const KEYS_CHECK: &str = "\
Ends with 1 if a key is known to everybody or compromised, or if others can read the file.

Examples:
  secure-sessions --keys keys.txt keys check";

pub(crate) const TOKEN_INSPECT: &str = "\
The answer names the event that a request with the cookie raises in the application's log. \
A binding of sessions to a client or a device is not judged. Ends with 1 if the cookie is refused.

Examples:
  secure-sessions token inspect cookie.txt
  secure-sessions token inspect --data < cookie.txt
  secure-sessions --cookie-name bearer:session-token token inspect token.txt";

pub(crate) const SESSIONS_COUNT: &str = "\
Examples:
  secure-sessions --store sqlite:sessions.db sessions count
  secure-sessions --store redis://127.0.0.1/ --prefix shop sessions count --json";

pub(crate) const SESSIONS_LIST: &str = "\
Examples:
  secure-sessions sessions list alice
  secure-sessions sessions list alice --json";

pub(crate) const SESSIONS_REVOKE: &str = "\
Ends with 1 if the subject has no live session of that handle.

Examples:
  secure-sessions sessions revoke alice 0JxGq2n5Tn2J0b3K1nq0Zw";

pub(crate) const SESSIONS_REVOKE_ALL: &str = "\
Examples:
  secure-sessions sessions revoke-all alice
  secure-sessions sessions revoke-all --provider-session https://login.example 08a5019c
  secure-sessions sessions revoke-all --everybody";

pub(crate) const NOT_BEFORE: &str = "\
Examples:
  secure-sessions not-before
  secure-sessions not-before now
  secure-sessions not-before 2026-01-31T12:00:00Z";

pub(crate) const PURGE: &str = "\
Examples:
  secure-sessions --store sqlite:sessions.db purge";

pub(crate) const MIGRATE: &str = "\
The other commands change no table: they ask for this one if it is needed.

Examples:
  secure-sessions --store sqlite:sessions.db migrate
  secure-sessions migrate --print
  secure-sessions migrate --print postgres";

pub(crate) const DOCTOR: &str = "\
Ends with 1 if a check is BAD.

Examples:
  secure-sessions doctor
  secure-sessions doctor --expect-keys 1126b96e,29a2f045
  curl --silent --head https://shop.example/login | secure-sessions doctor --headers -";
