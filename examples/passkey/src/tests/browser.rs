//! The page and its script in Chromium, whose virtual authenticator stands in for the device.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use axum::http::Method;
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;

use super::*;

const PATIENCE: Duration = Duration::from_secs(120);

/// Plugs an authenticator in that verifies its user by itself (WebAuthn Level 3, section 11.3).
#[derive(Debug)]
struct AddAuthenticator;

impl WebDriverCompatibleCommand for AddAuthenticator {
    fn endpoint(&self, driver: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        driver.join(&format!("session/{}/webauthn/authenticator", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let device = json!({
            "protocol": "ctap2", "transport": "internal",
            "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true,
        });
        (Method::POST, Some(device.to_string()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_registers_logs_in_confirms_and_closes_the_account() {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let (Some(driver), Some(browser)) = (find(&["chromedriver"]), find(&names)) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "chromium and chromedriver must be in PATH when CI=true");
        // Not through `println!`, which the test harness swallows when a test passes.
        writeln!(std::io::stderr(), "SKIPPED browser: chromium or chromedriver is not in PATH").ok();
        return;
    };
    let (manager, clock) = testing::manager();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Url::parse(&format!("http://localhost:{}", listener.local_addr().unwrap().port())).unwrap();
    let site = app(manager, &origin).unwrap();
    tokio::spawn(async move { serve(listener, site).await });

    let (mut driver, port) = start(driver);
    let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"];
    let options = json!({ "binary": browser, "args": arguments });
    let client = ClientBuilder::new(HttpConnector::new())
        .capabilities(Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]))
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .unwrap();
    let (page, end) = (client.clone(), client);
    // In a task, so that the browser is closed whatever comes of the test.
    let outcome = tokio::spawn(async move { visit(&page, &origin, &clock).await }).await;
    let closed = end.close().await;
    driver.kill().unwrap();
    driver.wait().unwrap();
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
    closed.unwrap();
}

async fn visit(page: &Client, origin: &Url, clock: &ManualClock) {
    page.issue_cmd(AddAuthenticator).await.unwrap();
    page.goto(origin.as_str()).await.unwrap();
    for button in ["register", "login"] {
        wait_for(page, Locator::Id("name")).await.send_keys("alice").await.unwrap();
        click(page, button).await;
        assert_eq!(wait_for(page, Locator::Id("user")).await.text().await.unwrap(), "alice");
        if button == "register" {
            click(page, "logout").await;
        }
    }
    // The script meets a 403, asks the authenticator, and tries again.
    clock.advance(RECENT + Duration::from_secs(1));
    click(page, "close").await;
    wait_for(page, Locator::Id("name")).await.send_keys("alice").await.unwrap();
    click(page, "login").await;
    let told = wait_for(page, Locator::XPath("//p[@id='problem'][text()]")).await;
    assert_eq!(told.text().await.unwrap(), "There is no account of this name.");
}

async fn wait_for(page: &Client, what: Locator<'_>) -> Element {
    let until = Instant::now() + PATIENCE;
    loop {
        match page.find(what).await {
            Ok(found) => return found,
            // It is not there yet; and while one page goes and another comes, there may be none to ask.
            Err(error) => assert!(Instant::now() < until, "{what:?}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn click(page: &Client, id: &str) {
    match wait_for(page, Locator::Id(id)).await.click().await {
        // The click was made, and the next page came before the driver could say so.
        Ok(()) | Err(CmdError::NotW3C(_)) => {}
        Err(error) => panic!("{id}: {error}"),
    }
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let candidates = names.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    candidates.into_iter().find(|path| path.is_file())
}

/// Starts the driver on a port that it picks, and says which.
fn start(driver: PathBuf) -> (Child, u16) {
    let mut child = Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let port = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
    (child, port.unwrap())
}
