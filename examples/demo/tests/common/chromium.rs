//! A headless Chromium, driven through WebDriver.

use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::common::Demo;

const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Desktop,
    /// 390 by 844 points.
    Phone,
}

/// A page of a demo in a browser.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) client: Client,
    base: String,
    driver: String,
    capabilities: Capabilities,
}

/// Runs a test in a browser of its own, on a demo of its own. Without Chromium the test is skipped, but in CI.
pub(crate) async fn in_browser<F: Future<Output = ()> + Send + 'static>(screen: Screen, test: impl FnOnce(Page) -> F) {
    let (Some(driver), Some(browser)) = (
        find(&["chromedriver"]),
        find(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]),
    ) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "chromium and chromedriver must be in PATH when CI=true");
        // Not through `println!`, which the test harness swallows when a test passes.
        writeln!(std::io::stderr(), "SKIPPED browser: chromium or chromedriver is not in PATH").ok();
        return;
    };
    let demo = Demo::start().await;
    let (mut driver, port) = start(driver);
    let mut options = json!({
        "binary": browser,
        "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1280,900",
        ],
    });
    if screen == Screen::Phone {
        options["mobileEmulation"] = json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0 } });
    }
    let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
    let page =
        Page::connect(format!("http://127.0.0.1:{port}"), capabilities, format!("http://{}", demo.address)).await;
    let client = page.client.clone();
    // In a task, so that the browser is closed whatever comes of the test.
    let outcome = tokio::spawn(test(page)).await;
    let closed = client.close().await;
    driver.kill().expect("it was ours to end");
    driver.wait().expect("it ends");
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
    closed.expect("the browser closes");
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    let candidates = names.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name)));
    candidates.into_iter().find(|path| path.is_file())
}

/// Starts the driver on a port that it picks, and says which.
fn start(driver: PathBuf) -> (Child, u16) {
    let mut child =
        Command::new(driver).arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a driver");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let port = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
    (child, port.expect("the driver names its port"))
}

impl Page {
    /// The driver gives each browser a profile of its own.
    async fn connect(driver: String, capabilities: Capabilities, base: String) -> Self {
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.clone())
            .connect(&driver)
            .await
            .expect("a browser");
        Self { client, base, driver, capabilities }
    }

    /// Another browser, with cookies of its own. The test closes it.
    pub(crate) async fn second_browser(&self) -> Self {
        Self::connect(self.driver.clone(), self.capabilities.clone(), self.base.clone()).await
    }

    pub(crate) async fn wait_for(&self, css: &str) {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.client.find(Locator::Css(css)).await {
            assert!(Instant::now() < until, "{css}: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn open(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.base)).await.expect("a page");
    }

    pub(crate) async fn find(&self, css: &str) -> Element {
        self.client.find(Locator::Css(css)).await.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.expect("a text")
    }

    pub(crate) async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.expect("a list").len()
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.expect("an address").path().to_owned()
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("a result")
    }

    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        element.clear().await.expect("an input");
        element.send_keys(text).await.expect("typed");
    }

    /// Clicks what leads to another page, and waits for that.
    pub(crate) async fn follow(&self, css: &str) {
        self.run("document.documentElement.dataset.left = 'yes'").await;
        match self.find(css).await.click().await {
            // The click was made, and the next page came before the driver could say so.
            Ok(()) | Err(CmdError::NotW3C(_)) => {}
            Err(error) => panic!("{css}: {error}"),
        }
        let arrived = "return document.readyState === 'complete' && !document.documentElement.dataset.left";
        let until = Instant::now() + PATIENCE;
        // While one page goes and another comes there may be none to ask.
        while !matches!(self.client.execute(arrived, Vec::new()).await, Ok(Value::Bool(true))) {
            assert!(Instant::now() < until, "a click on {css} leads nowhere");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
