//! A real headless Chromium, driven over WebDriver (W3C) through Debian's chromedriver. WebDriver is JSON over HTTP, so
//! [`crate::client`] is used.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

use crate::SOON;
use crate::client::Request;
use crate::tools;

/// WebDriver's name for the member with an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The properties of the window.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// A phone: touch, device pixels, and `meta viewport` applies.
    pub phone: bool,
    /// Whether the system prefers dark colours.
    pub dark: bool,
}

/// A browser with one page. It ends when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Kept open, because the driver would end at its next output.
    _said: BufReader<ChildStdout>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser; `None` if `LLM_FAILSAFE_WITHOUT` allows it to be missing.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub async fn start(screen: Screen) -> Option<Self> {
        let chromedriver = tools::chromedriver()?;
        let mut driver = Command::new(chromedriver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut said = BufReader::new(driver.stdout.take().expect("its output"));
        let port = (&mut said)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver prints its port");
        let profile = tempfile::Builder::new().prefix("llm-failsafe-chromium-").tempdir().expect("a folder");
        let mut args = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            // As root, Chromium has no sandbox. It only loads a page of this machine.
            "--no-sandbox".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},{}", screen.width, screen.height),
        ];
        if screen.dark {
            args.push("--force-dark-mode".to_owned());
        }
        let mut options = json!({"args": args});
        if screen.phone {
            options["mobileEmulation"] = json!({"deviceMetrics": {"width": screen.width, "height": screen.height, "pixelRatio": 2.0, "touch": true}});
        }
        let mut browser = Self { driver, port, session: String::new(), _said: said, _profile: profile };
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let session = browser.call("POST", "/session", &wanted).await.expect("a session");
        session["sessionId"].as_str().expect("its id").clone_into(&mut browser.session);
        let scheme = if screen.dark { "dark" } else { "light" };
        let media = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": [{"name": "prefers-color-scheme", "value": scheme}]}});
        browser.command("POST", "/goog/cdp/execute", &media).await;
        Some(browser)
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({"url": url})).await;
    }

    /// The result of a piece of JavaScript.
    pub async fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Waits until a piece of JavaScript returns a true value, and returns it.
    ///
    /// # Panics
    /// If that does not happen within [`SOON`].
    pub async fn wait_for(&self, condition: &str) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let value = self.run(&format!("return {condition}")).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if Instant::now() >= deadline {
                let text = self.run("return document.body.innerText").await;
                panic!("was never true: {condition}\nthe page shows: {text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks an element, which must be visible and not covered.
    pub async fn click(&self, selector: &str) {
        let id = self.element(selector).await;
        self.command("POST", &format!("/element/{id}/click"), &json!({})).await;
    }

    /// Types into a field.
    pub async fn write(&self, selector: &str, text: &str) {
        let id = self.element(selector).await;
        self.command("POST", &format!("/element/{id}/value"), &json!({"text": text})).await;
    }

    /// The visible text of an element.
    pub async fn text(&self, selector: &str) -> String {
        let id = self.element(selector).await;
        let text = self.command("GET", &format!("/element/{id}/text"), &Value::Null).await;
        text.as_str().expect("text").to_owned()
    }

    /// Saves a PNG of the window in `target/screenshots`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let encoded = self.command("GET", "/screenshot", &Value::Null).await;
        let png = base64::engine::general_purpose::STANDARD.decode(encoded.as_str().expect("a picture"));
        let folder = crate::paths::root().join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder for screenshots");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, png.expect("base64")).expect("the screenshot is written");
        path
    }

    async fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "/element", &wanted).await;
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("no element is {selector}: {found}")).to_owned()
    }

    async fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call(method, &path, body).await.unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"))
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let request = if method == "GET" { Request::get(path) } else { Request::post(path).json(body) };
        let answer =
            request.patience(Duration::from_secs(60)).send(self.port).await.expect("chromedriver answers");
        let ok = answer.status == 200;
        let value = answer.json().await["value"].take();
        if ok { Ok(value) } else { Err(value) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its driver once the session is deleted. An async request would need a runtime, so this one is
        // blocking.
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            use std::io::{Read, Write};
            let path = format!("/session/{}", self.session);
            write!(stream, "DELETE {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.read(&mut [0; 64])
        });
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
