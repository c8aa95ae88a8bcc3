//! The plan of a page of a list: it reads the page, and not the other sessions of the subject or group.

use secure_sessions_store::sqlx::{self, mysql::MySqlPoolOptions};
use secure_sessions_store::{Bucket, GroupTag, Page, SessionStore, SubjectTag, Tags};

use crate::support::{Admin, Database, Kind, numbered, run, session};

const MANY: u32 = 20_000;
const PAGE: u32 = 50;

/// The tag of a subject with many sessions, and that of the same subject under an older key.
fn subjects() -> [SubjectTag; 2] {
    [session(1).subject.unwrap(), SubjectTag::from_bytes([2; 16])]
}

/// The same of a group.
fn groups() -> [GroupTag; 2] {
    subjects().map(|subject| GroupTag::from_bytes(*subject.as_bytes()))
}

/// Two hot tags of both kinds among others, made by the server itself.
async fn fill(database: &Database, admin: &mut Admin) {
    let table = &database.table;
    let columns = "revision, created_at, last_seen_at, expires_at, idle_timeout, rotated_at, generation, fingerprint, \
                   due_at, purge_at";
    let subject = database.kind.pick(
        "CASE WHEN n % 10 < 4 THEN decode(repeat('01', 16), 'hex') WHEN n % 10 < 8 THEN decode(repeat('02', 16), 'hex') \
         ELSE decode(md5((n / 40)::text), 'hex') END",
        "CASE WHEN n % 10 < 4 THEN UNHEX(REPEAT('01', 16)) WHEN n % 10 < 8 THEN UNHEX(REPEAT('02', 16)) \
         ELSE UNHEX(MD5(n DIV 40)) END",
    );
    let id = database.kind.pick("decode(md5('id' || n), 'hex')", "UNHEX(MD5(CONCAT('id', n)))");
    let numbers = database.kind.pick(
        &format!("generate_series(1, {MANY}) AS n"),
        &format!("(SELECT seq AS n FROM seq_1_to_{MANY}) AS numbers"),
    );
    admin
        .run(&format!(
            "INSERT INTO {table} (id, subject, group_tag, {columns}) \
             SELECT {id}, {subject}, {subject}, {columns} FROM {table}, {numbers}"
        ))
        .await;
    admin.run(&database.kind.pick(&format!("ANALYZE {table}"), &format!("ANALYZE TABLE {table}"))).await;
}

/// Returns the statement as the store sends it.
async fn sent(database: &Database, admin: &mut Admin, column: &str) -> String {
    let sent = format!(
        "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%{} WHERE {column} = $1%'",
        database.table
    );
    admin.texts(&sent).await[0][0].clone()
}

/// Both with the plan for these values and with the one for any, which PostgreSQL takes after a few calls.
#[test]
fn in_postgres_a_page_of_two_hot_tags_reads_no_more_than_the_page_of_each() {
    run(Kind::Postgres, |database| async move {
        let store = database.options().max_connections(1).connect(&database.url).await.unwrap();
        store.insert(&Bucket { handoff: None, subject: None, ..numbered(0) }).await.unwrap();
        let mut admin = database.admin().await;
        fill(&database, &mut admin).await;
        let kinds = ["subject", "group_tag"]
            .into_iter()
            .flat_map(|column| [(column, 1, false), (column, 2, false), (column, 2, true)]);
        for (column, tags, of_lifespans) in kinds {
            let (subjects, groups, page) = (&subjects()[..tags], &groups()[..tags], Page::first(PAGE));
            let listed = if column == "subject" { Tags::Subjects(subjects) } else { Tags::Groups(groups) };
            let length = match of_lifespans {
                false => store.list(listed, page).await.unwrap().len(),
                true => store.list_lifespans(listed, page).await.unwrap().len(),
            };
            assert_eq!(length, PAGE as usize);
            let statement = sent(&database, &mut admin, column).await;
            assert_eq!(statement.contains("handoff"), !of_lifespans, "{statement}");
            admin.run(&format!("PREPARE page AS {statement}")).await;
            let values = match tags {
                1 => format!("'\\x{}', '', {PAGE}", "01".repeat(16)),
                _ => format!("'\\x{}', '', {PAGE}, '\\x{}', '', {PAGE}, {PAGE}", "01".repeat(16), "02".repeat(16)),
            };
            for mode in ["force_custom_plan", "force_generic_plan"] {
                admin.run(&format!("SET plan_cache_mode = {mode}")).await;
                let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE page ({values})");
                let plan: Vec<String> = admin.texts(&explain).await.into_iter().map(|line| line[0].clone()).collect();
                let scans: Vec<_> = plan.iter().filter(|step| step.contains(" Scan ")).collect();
                assert_eq!(scans.len(), tags, "{mode}: {plan:#?}");
                for scan in scans {
                    assert!(scan.contains(&format!("{}_{column}", database.table)), "{mode}: {plan:#?}");
                    let rows = scan.split("rows=").nth(1).unwrap().split([' ', '.']).next().unwrap();
                    assert!(rows.parse::<u32>().unwrap() <= PAGE, "{mode}: {plan:#?}");
                }
                let wasteful = |step: &String| step.contains("Sort (") || step.contains("Removed by Filter");
                assert!(!plan.iter().any(wasteful), "{mode}: {plan:#?}");
            }
            admin.run("DEALLOCATE page").await;
        }
        store.close().await;
    });
}

/// By the server's own count of the rows that one connection had read.
#[test]
fn in_mariadb_a_page_of_two_hot_tags_reads_no_more_than_the_page_of_each() {
    run(Kind::MySql, |database| async move {
        let pool = MySqlPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
        let store = database.options().pool(pool.clone()).await.unwrap();
        store.insert(&Bucket { handoff: None, subject: None, ..numbered(0) }).await.unwrap();
        fill(&database, &mut database.admin().await).await;
        let read = async || {
            let counts: Vec<(String, String)> =
                sqlx::query_as("SHOW SESSION STATUS LIKE 'Handler_read_%'").fetch_all(&pool).await.unwrap();
            let by_key = counts.iter().filter(|(name, _)| !name.ends_with("rnd_next"));
            by_key.map(|(_, count)| count.parse::<u32>().unwrap()).sum::<u32>()
        };
        for tags in [Tags::Subjects(&subjects()), Tags::Groups(&groups())] {
            let before = read().await;
            assert_eq!(store.list(tags, Page::first(PAGE)).await.unwrap().len(), PAGE as usize);
            // Twice a page from the index, and what sorting these takes.
            let read = read().await - before;
            assert!(read <= 6 * PAGE, "{read} rows were read for a page of {PAGE}: {tags:?}");
        }
    });
}
