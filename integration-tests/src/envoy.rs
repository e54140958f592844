//! Runs the real Envoy with a configuration made for one test.
//!
//! The configuration is YAML text with `{{name}}` placeholders. These always exist: `{{admin_port}}` and `{{port}}` (both 0:
//! the kernel chooses a free port, and [`Envoy`] reads it back, so no two tests use the same port),
//! `{{wasm}}` (the built filter) and `{{dir}}` (this Envoy's own folder).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::Request;
use crate::turns::{self, Turn};
use crate::{SOON, paths};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The filter reports its counts to Envoy every 100 ms.
pub(crate) const HANDED_OVER: Duration = Duration::from_millis(300);
/// How much of the log is printed when a test fails.
const LOG_LINES_SHOWN: usize = 200;

/// The settings to start an Envoy with.
#[derive(Clone, Debug)]
pub struct EnvoyConfig {
    template: String,
    values: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    links: Vec<(String, String)>,
    env: Vec<(String, String)>,
    concurrency: u32,
    wasm_log_level: String,
    /// A file of `{{dir}}` that starts Envoy.
    start_script: Option<&'static str>,
    /// Envoy's own default is ten minutes.
    drain_seconds: Option<u32>,
    /// Nobody reads standard output until the test does.
    output_is_kept: bool,
}

impl EnvoyConfig {
    /// A configuration as text.
    pub fn from_text(template: impl Into<String>) -> Self {
        Self {
            template: template.into(),
            values: BTreeMap::new(),
            files: BTreeMap::new(),
            links: Vec::new(),
            env: Vec::new(),
            concurrency: 1,
            wasm_log_level: "info".to_owned(),
            start_script: None,
            drain_seconds: None,
            output_is_kept: false,
        }
    }

    /// A configuration from a file of the repository.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Self {
        let path = paths::root().join(path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::from_text(text)
    }

    /// A folder that `llm-failsafe init --live` wrote. Its start.sh starts Envoy.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn from_folder(folder: &Path) -> Self {
        let read = |path: &Path| {
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let mut config = Self::from_text(read(&folder.join("envoy.yaml")));
        for inside in ["", "keys"] {
            let entries = fs::read_dir(folder.join(inside)).expect("the folder can be read");
            for path in entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
                let name =
                    path.strip_prefix(folder).expect("it is in the folder").to_str().expect("plain text");
                config.files.insert(name.to_owned(), read(&path));
            }
        }
        config.start_script = Some("start.sh");
        config
    }

    /// Starts Envoy by the shipped entry point.
    pub fn by_entrypoint(mut self) -> Self {
        self.start_script = Some("entrypoint.sh");
        let path = paths::root().join("envoy/entrypoint.sh");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.file("entrypoint.sh", text)
    }

    /// How long Envoy keeps what an update has replaced, with its memory.
    pub fn drain_seconds(mut self, seconds: u32) -> Self {
        self.drain_seconds = Some(seconds);
        self
    }

    /// Nobody reads Envoy's standard output before [`Envoy::take_output`], as if the collector of logs hung.
    pub fn with_kept_output(mut self) -> Self {
        self.output_is_kept = true;
        self
    }

    /// Gives a file in `{{dir}}` another name.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn moved(mut self, from: &str, to: &str) -> Self {
        let text = self.files.remove(from).unwrap_or_else(|| panic!("there is no file {from}"));
        self.file(to, text)
    }

    /// A symbolic link in `{{dir}}`.
    pub fn link(mut self, name: &str, to: &str) -> Self {
        self.links.push((name.to_owned(), to.to_owned()));
        self
    }

    /// Replaces text in one of the files in `{{dir}}`.
    ///
    /// # Panics
    /// If the text does not occur.
    pub fn replace_in(mut self, name: &str, from: &str, to: &str) -> Self {
        let text = self.files.get_mut(name).unwrap_or_else(|| panic!("there is no file {name}"));
        assert!(text.contains(from), "{name} does not contain {from:?}");
        *text = text.replace(from, to);
        self
    }

    /// Sets the value of `{{name}}`.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// Replaces text in a configuration without a placeholder there, such as a port or a host.
    ///
    /// # Panics
    /// If the text does not occur.
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.template.contains(from), "the configuration does not contain {from:?}");
        self.template = self.template.replace(from, to);
        self
    }

    /// Another file in `{{dir}}` with the same placeholders, such as a listener to be reloaded.
    pub fn file(mut self, name: &str, template: impl Into<String>) -> Self {
        self.files.insert(name.to_owned(), template.into());
        self
    }

    /// An environment variable for Envoy.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The number of worker threads; 1 by default.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// The log level of the `wasm` component (where the filter logs); `info` by default.
    pub fn wasm_log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.wasm_log_level);
        self
    }

    fn render(&self, template: &str, dir: &Path) -> String {
        let mut text = template.to_owned();
        let usual = [
            ("admin_port", "0".to_owned()),
            ("port", "0".to_owned()),
            ("wasm", paths::wasm_path().display().to_string()),
            ("dir", dir.display().to_string()),
        ];
        let own = self.values.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in own.chain(usual) {
            text = text.replace(&format!("{{{{{name}}}}}"), &value);
        }
        if let Some((_, rest)) = text.split_once("{{") {
            panic!("no value for {{{{{}}}}}", rest.split("}}").next().unwrap_or(rest));
        }
        text
    }

    /// Writes the files and starts the process. It is not ready yet.
    async fn spawn(self) -> Running {
        let turn = turns::take_part().await;
        if self.template.contains("{{wasm}}") || self.files.values().any(|file| file.contains("{{wasm}}")) {
            paths::wasm();
        }
        let dir =
            tempfile::Builder::new().prefix("llm-failsafe-envoy-").tempdir().expect("a temporary folder");
        let config = dir.path().join("envoy.yaml");
        fs::write(&config, self.render(&self.template, dir.path())).expect("the configuration is written");
        for (name, template) in self.files.iter().filter(|(name, _)| *name != "envoy.yaml") {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder is made");
            fs::write(path, self.render(template, dir.path())).expect("a file is written");
        }
        for (name, to) in &self.links {
            std::os::unix::fs::symlink(to, dir.path().join(name)).expect("a link is made");
        }
        let log = File::create(dir.path().join("envoy.log")).expect("a log file");
        let mut command = match self.start_script {
            Some(script) => {
                let mut command = Command::new(if script == "start.sh" { "sh" } else { "bash" });
                command.arg(dir.path().join(script));
                if script != "start.sh" {
                    command.arg("--config-path").arg(&config);
                }
                command.env("ENVOY", paths::envoy()).env("LLM_FAILSAFE", paths::program());
                command.env("ADMIN_ADDRESS_FILE", dir.path().join("admin.address"));
                // With Envoy, which the script starts.
                command.process_group(0);
                command
            }
            None => {
                let mut command = Command::new(paths::envoy());
                command.arg("--config-path").arg(&config);
                command.arg("--admin-address-path").arg(dir.path().join("admin.address"));
                command
            }
        };
        // Otherwise two Envoys of one machine would share memory by their base id.
        command.arg("--disable-hot-restart");
        command.args(["--concurrency", &self.concurrency.to_string(), "--log-level", "info"]);
        if let Some(seconds) = self.drain_seconds {
            command.args(["--drain-time-s", &seconds.to_string()]);
        }
        // Tests read access logs while Envoy runs.
        command.args(["--file-flush-interval-msec", "20"]);
        command.args(["--component-log-level", &format!("wasm:{}", self.wasm_log_level)]);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        if self.output_is_kept {
            command.stdout(Stdio::piped()).stderr(log);
        } else {
            command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        }
        let child = command.spawn().expect("Envoy starts");
        Running { child, dir, config: self, _turn: turn }
    }
}

/// The process and its folder. On drop the process is killed, and its log is printed if the test fails.
struct Running {
    child: Child,
    dir: TempDir,
    config: EnvoyConfig,
    /// Dropped last, when the process has ended.
    _turn: Turn,
}

impl Running {
    fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("envoy.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process state can be read")
    }

    /// The admin port, as soon as Envoy has written it.
    fn admin_port(&self) -> Option<u16> {
        let address = fs::read_to_string(self.dir.path().join("admin.address")).ok()?;
        address.rsplit(':').next()?.trim().parse().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.config.start_script.is_some() {
            let group = format!("-{}", self.child.id());
            drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        }
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!(
                "--- Envoy's log (last {} of {} lines)\n{}",
                shown.len(),
                lines.len(),
                shown.join("\n")
            );
        }
    }
}

/// An Envoy that may not be ready yet. It is killed when dropped.
pub struct Starting {
    running: Running,
}

impl Starting {
    /// Waits until Envoy is ready and all its TCP listeners accept.
    ///
    /// # Panics
    /// If it is not ready within [`SOON`]. Its log is printed.
    pub async fn ready(mut self) -> Envoy {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.running.exited() {
                panic!("Envoy ended while starting: {status}");
            }
            if let Some(admin_port) = self.running.admin_port()
                && let Some(listeners) = ready_listeners(admin_port).await
            {
                return Envoy { running: self.running, admin_port, listeners };
            }
            assert!(Instant::now() < deadline, "Envoy was not ready within {SOON:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The port of a listener by its name, whether or not it accepts.
    ///
    /// # Panics
    /// If Envoy does not list it within [`SOON`].
    pub async fn port_of(&self, listener: &str) -> u16 {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(admin_port) = self.running.admin_port()
                && let Some(listeners) = listed(admin_port).await
                && let Some((_, port)) = listeners.into_iter().find(|(name, _)| name == listener)
            {
                return port;
            }
            assert!(Instant::now() < deadline, "Envoy did not list {listener:?} within {SOON:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Envoy's state, as its admin interface names it.
    ///
    /// # Panics
    /// If the admin interface does not answer.
    pub async fn state(&self) -> String {
        let admin_port = self.running.admin_port().expect("an admin interface");
        let read = Request::get("/ready").ask(admin_port).await;
        read.text().trim().to_owned()
    }
}

/// A running Envoy that accepts requests. It is killed when dropped.
pub struct Envoy {
    running: Running,
    admin_port: u16,
    /// TCP listeners by name, in the order in which Envoy lists them.
    listeners: Vec<(String, u16)>,
}

impl Envoy {
    /// Starts Envoy and waits until it is ready and all its TCP listeners accept.
    ///
    /// # Panics
    /// If it is not ready within [`SOON`]. Its log is printed.
    pub async fn start(config: EnvoyConfig) -> Self {
        Self::spawn(config).await.ready().await
    }

    /// Starts Envoy and waits for nothing.
    pub async fn spawn(config: EnvoyConfig) -> Starting {
        Starting { running: config.spawn().await }
    }

    /// Starts Envoy with a configuration that it must reject, and returns its log.
    ///
    /// # Panics
    /// If it does not end with an error within [`SOON`].
    pub async fn expect_start_failure(config: EnvoyConfig) -> String {
        let mut running = config.spawn().await;
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = running.exited() {
                assert!(!status.success(), "Envoy ended, but without an error");
                return running.log();
            }
            if let Some(port) = running.admin_port() {
                assert!(
                    ready_listeners(port).await.is_none(),
                    "Envoy started with a configuration that it should have rejected"
                );
            }
            assert!(Instant::now() < deadline, "Envoy neither failed nor became ready within {SOON:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The port of the first TCP listener.
    pub fn port(&self) -> u16 {
        self.listeners[0].1
    }

    /// The port of a listener by its name.
    ///
    /// # Panics
    /// If no listener has this name.
    pub fn port_of(&self, listener: &str) -> u16 {
        let found = self.listeners.iter().find(|(name, _)| name == listener);
        found.unwrap_or_else(|| panic!("no listener {listener:?} among {:?}", self.listeners)).1
    }

    /// The admin interface's port.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Whether this Envoy resets HTTP/2 streams with NO_ERROR, as versions before 1.37 do. hyper treats that as a normal end.
    pub async fn resets_http2_without_error(&self) -> bool {
        self.admin("/server_info").await.contains("/1.36.")
    }

    /// This Envoy's folder, `{{dir}}` in its configuration.
    pub fn dir(&self) -> &Path {
        self.running.dir.path()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running.child.id()
    }

    /// How much memory the process has, in bytes.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Envoy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// Standard output, which nobody has read yet.
    ///
    /// # Panics
    /// If it is not kept, or has been taken.
    pub fn take_output(&mut self) -> ChildStdout {
        self.running.child.stdout.take().expect("standard output is kept")
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.running.exited().is_some()
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the process has ended already");
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    /// If it does not within [`SOON`].
    pub async fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.running.exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "Envoy did not end within {SOON:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Replaces a file in `{{dir}}` by a rename, because Envoy watches for renames.
    pub fn replace_file(&self, name: &str, template: &str) {
        let text = self.running.config.render(template, self.dir());
        let (new, path) = (self.dir().join(format!("{name}.new")), self.dir().join(name));
        fs::write(&new, text).expect("a file is written");
        fs::rename(new, path).expect("a file is replaced");
    }

    /// Reads a file in `{{dir}}`, such as an access log. Empty if it does not exist yet.
    pub fn read_file(&self, name: &str) -> String {
        let path: PathBuf = self.dir().join(name);
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// The admin interface's response to a GET.
    ///
    /// # Panics
    /// If the status is not 200.
    pub async fn admin(&self, path: &str) -> String {
        let response = Request::get(path).send(self.admin_port).await.expect("the admin interface answers");
        assert_eq!(response.status, 200, "admin {path}");
        response.text().await
    }

    /// A counter's or gauge's value by its full name, once the filter has reported its counts; `None` if there is none of that
    /// name.
    pub async fn stat(&self, name: &str) -> Option<u64> {
        tokio::time::sleep(HANDED_OVER).await;
        self.stat_now(name).await
    }

    pub(crate) async fn stat_now(&self, name: &str) -> Option<u64> {
        let all = self.admin("/stats").await;
        all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    }

    /// The sum of all counters and gauges whose names contain `part` and end with `end`.
    pub async fn stat_of(&self, part: &str, end: &str) -> u64 {
        let all = self.admin(&format!("/stats?filter={part}")).await;
        let values = all.lines().filter_map(|line| line.split_once(": "));
        values
            .filter(|(name, _)| name.ends_with(end))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum()
    }

    /// Waits until a counter or gauge is as wanted, and returns its value.
    ///
    /// # Panics
    /// If that does not happen within [`SOON`].
    pub async fn wait_for_stat(&self, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + SOON;
        loop {
            let value = self.stat_now(name).await;
            if let Some(value) = value.filter(|value| wanted(*value)) {
                return value;
            }
            assert!(Instant::now() < deadline, "{name} is {value:?} and not as wanted");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// All metrics in Prometheus' format.
    pub async fn prometheus(&self) -> String {
        self.admin("/stats/prometheus").await
    }

    /// The log so far, of Envoy and of the filter.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// How long the log is, in bytes.
    ///
    /// # Panics
    /// If there is none.
    pub fn log_length(&self) -> u64 {
        fs::metadata(self.dir().join("envoy.log")).expect("a log").len()
    }

    /// The log from this byte on. `offset` is then where it ends.
    ///
    /// # Panics
    /// If there is none.
    pub fn log_from(&self, offset: &mut u64) -> String {
        let mut file = File::open(self.dir().join("envoy.log")).expect("a log");
        file.seek(SeekFrom::Start(*offset)).expect("a place in the log");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the log is read");
        *offset += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the log contains a text.
    ///
    /// # Panics
    /// If it does not within [`SOON`].
    pub async fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + SOON;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "the log does not contain {text:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The TCP listeners, if Envoy is ready and accepts on all of them.
async fn ready_listeners(admin_port: u16) -> Option<Vec<(String, u16)>> {
    let ready = Request::get("/ready").send(admin_port).await.ok()?;
    if ready.status != 200 {
        return None;
    }
    let listeners = listed(admin_port).await?;
    for (_, port) in &listeners {
        TcpStream::connect(("127.0.0.1", *port)).await.ok()?;
    }
    (!listeners.is_empty()).then_some(listeners)
}

/// The TCP listeners that Envoy lists, and their ports.
async fn listed(admin_port: u16) -> Option<Vec<(String, u16)>> {
    let answer = Request::get("/listeners?format=json").send(admin_port).await.ok()?.read().await;
    let document: Value = serde_json::from_slice(&answer.bytes()).ok()?;
    let mut listeners = Vec::new();
    for status in document.get("listener_statuses")?.as_array()? {
        // An internal listener has no port.
        let Some(port) = status.pointer("/local_address/socket_address/port_value").and_then(Value::as_u64)
        else {
            continue;
        };
        let port = u16::try_from(port).ok()?;
        listeners.push((status.get("name")?.as_str()?.to_owned(), port));
    }
    Some(listeners)
}
