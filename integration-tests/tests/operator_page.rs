//! The operator page in a real Chromium, on a phone and on a desktop, in light and dark mode. Screenshots are left in
//! `target/screenshots`.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::browser::{Browser, Screen};
use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::sha256;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const OPERATOR: &str = "op-3f1c-secret";
const DESK: Screen = Screen { width: 1280, height: 1400, phone: false, dark: false };
const PHONE: Screen = Screen { width: 390, height: 844, phone: true, dark: true };

struct PageScene {
    providers: [ScriptedProvider; 4],
    envoy: Envoy,
}

impl PageScene {
    /// Four providers, of which three can be made to fail: one with errors, one with a revoked key, one with a rate limit.
    async fn start() -> Self {
        let names = ["openai", "azure", "anthropic", "vllm"];
        let [openai, azure, anthropic, vllm] = names;
        let sha256 = sha256(OPERATOR);
        let configuration = json!({
            "providers": names.iter().map(|name| ((*name).to_owned(), compatible(name))).collect::<serde_json::Map<_, _>>(),
            "accounts": {
                "openai-a": {"provider": openai, "key": {"value": "sk-a"}},
                "azure": {"provider": azure, "key": {"value": "sk-b"}},
                "claude": {"provider": anthropic, "key": {"value": "sk-c"}},
            },
            "targets": {
                "gpt-a": {"account": "openai-a", "model": "gpt-4.1-mini"},
                "gpt-b": {"account": "azure", "model": "gpt-4.1-mini"},
                "gpt-large": {"account": "openai-a", "model": "gpt-4.1"},
                "haiku": {"account": "claude", "model": "claude-haiku-4-5"},
                "llama": {"provider": vllm, "model": "meta-llama/Llama-3.3-70B-Instruct"},
                "llama-one": {"provider": vllm, "model": "llama", "limits": {"max_pending": 1}},
            },
            "models": {
                "chat": {"tiers": [["gpt-a"], ["gpt-b"], ["haiku"], ["llama"]], "retry": {"attempts": 6}},
                "large": {"targets": ["gpt-large", "haiku"]},
                "only-large": {"targets": ["gpt-large"]},
                "one-by-one": {"targets": ["llama-one"], "retry": {"attempts": 1, "queue": {"max_wait": "120s"}}},
            },
            "breaker": {"consecutive": 3, "open": "600s", "open_max": "600s"},
            "operator": {"keys": {"anna": {"sha256": sha256}}},
        });
        let gateway = Gateway::new(Shape::Loop).plugin(&configuration).concurrency(2);
        let scene = gateway.start_with(names).await;
        Self { providers: scene.providers, envoy: scene.envoy }
    }

    async fn ask(&self, model: &str) -> u16 {
        Request::chat(model, false).ask(self.envoy.port()).await.status.as_u16()
    }

    /// Makes all providers but the last one fail.
    async fn go_wrong(&self) {
        let [openai, azure, anthropic, vllm] = &self.providers;
        vllm.by_default(
            Script::usual()
                .delay_headers(Duration::from_millis(120))
                .header("x-ratelimit-limit-requests", "60")
                .header("x-ratelimit-remaining-requests", "20")
                .header("x-ratelimit-reset-requests", "60s"),
        );
        assert_eq!(self.ask("chat").await, 200);
        openai.by_default(errors::openai_500());
        azure.by_default(errors::openai_401());
        anthropic.by_default(errors::openai_429().header("retry-after", "240"));
        let deadline = Instant::now() + SOON;
        for (list, name, state) in [
            ("targets", "gpt-a", "open"),
            ("accounts", "azure", "blocked"),
            ("targets", "haiku", "throttled"),
        ] {
            while self.state(list, name).await != state {
                self.ask("chat").await;
                assert!(Instant::now() < deadline, "{name} is not {state}: {:#}", self.status().await);
                tokio::time::sleep(Duration::from_millis(120)).await;
            }
        }
    }

    /// A request takes the only place at its target and another one is queued, until both are dropped.
    async fn fill_up(&self) -> [JoinHandle<()>; 2] {
        let [_, _, _, vllm] = &self.providers;
        let left = vllm.received().len();
        vllm.script(Script::hang());
        let ask = || {
            let request = Request::chat("one-by-one", true).patience(2 * SOON).send(self.envoy.port());
            tokio::spawn(async move { drop(request.await) })
        };
        let first = ask();
        vllm.wait_for(left + 1, SOON).await;
        // The other worker must learn of it first, or it would take a place too.
        tokio::time::sleep(Duration::from_secs(1)).await;
        [first, ask()]
    }

    async fn status(&self) -> Value {
        let request =
            Request::get("/llm-failsafe/status").header("authorization", &format!("Bearer {OPERATOR}"));
        request.send(self.envoy.port()).await.unwrap().json().await
    }

    async fn state(&self, list: &str, name: &str) -> String {
        let status = self.status().await;
        let scopes = status[list].as_array().unwrap_or_else(|| panic!("{status}"));
        scopes.iter().find(|scope| scope["name"] == name).unwrap()["state"].as_str().unwrap().to_owned()
    }

    async fn enter(&self, browser: &Browser) {
        browser.open(&format!("http://127.0.0.1:{}/llm-failsafe/", self.envoy.port())).await;
        browser.wait_for("document.querySelector('#key') && !document.querySelector('#login').hidden").await;
        browser.write("#key", OPERATOR).await;
        browser.click("#login button").await;
        browser.wait_for("!document.querySelector('#report').hidden").await;
    }
}

/// The visible text in the row of a scope.
async fn row(browser: &Browser, scope: &str) -> String {
    browser.text(&format!("[data-scope='{scope}']")).await
}

/// Checks that the page is not wider than the window and that touch targets are at least 44 px high.
async fn assert_fits(browser: &Browser) {
    let sideways = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
    assert!(sideways.as_i64().unwrap() <= 0, "the page is {sideways} px wider than the window");
    let small = browser
        .run("return [...document.querySelectorAll('button,summary')].filter(b => b.offsetParent && b.getBoundingClientRect().height < 44).map(b => b.textContent)")
        .await;
    assert_eq!(small, json!([]), "touch targets that are too small");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_desktop_the_page_shows_problems_and_takes_an_order() {
    let Some(browser) = Browser::start(DESK).await else { return };
    let scene = PageScene::start().await;
    scene.go_wrong().await;

    // The page reports a wrong key and asks again.
    browser.open(&format!("http://127.0.0.1:{}/llm-failsafe/", scene.envoy.port())).await;
    browser.wait_for("!document.querySelector('#login').hidden").await;
    browser.screenshot("desk-1-door").await;
    browser.write("#key", "guess").await;
    browser.click("#login button").await;
    browser.wait_for("document.querySelector('#note').textContent.includes('not known')").await;

    scene.enter(&browser).await;
    // State and reason are visible as text, not only as colour.
    let gpt_a = row(&browser, "targets/gpt-a").await;
    assert!(gpt_a.contains("✕ open") && gpt_a.contains("failures in a row: server"), "{gpt_a}");
    let haiku = row(&browser, "targets/haiku").await;
    assert!(haiku.contains("‖ throttled") && haiku.contains("available again in"), "{haiku}");
    let account = row(&browser, "accounts/azure").await;
    assert!(account.contains("⊘ blocked") && account.contains("auth"), "{account}");
    assert!(browser.text("#verdict").await.contains("some breakers are not closed"));
    // Latency, remaining limit, queue and retry budget.
    let llama = row(&browser, "targets/llama").await;
    assert!(llama.contains("first content ") && llama.contains("20 of 60 requests left"), "{llama}");
    let waiting = scene.fill_up().await;
    browser
        .wait_for("document.querySelector('[data-model=\"one-by-one\"]').innerText.includes('1 waiting (')")
        .await;
    let line = browser.text("[data-model='one-by-one']").await;
    assert!(line.contains("longest wait ") && line.contains(" of 2 min"), "{line}");
    browser.wait_for("document.querySelector('[data-scope=\"targets/llama-one\"]').innerText.includes('0 of 1 slots free')").await;
    let retries = browser.text("#retries").await;
    assert!(retries.contains(" allowed in the last 10 s, with "), "{retries}");
    let load = browser.text("#load").await;
    assert!(
        load.contains(" attempts in flight · ") && load.contains("(at most 537 MB per worker)"),
        "{load}"
    );
    assert_fits(&browser).await;
    browser.screenshot("desk-2-trouble").await;
    waiting.iter().for_each(JoinHandle::abort);

    // An order needs a confirmation.
    browser.click("[data-scope='targets/gpt-large'] summary").await;
    browser.screenshot("desk-3-menu").await;
    browser.click("[data-scope='targets/gpt-large'] [data-order='drain']").await;
    browser.wait_for("document.querySelector('#ask').open").await;
    browser.screenshot("desk-4-ask").await;
    assert_eq!(scene.state("targets", "gpt-large").await, "closed");
    browser.click("#ask-yes").await;
    browser
        .wait_for(
            "document.querySelector('[data-scope=\"targets/gpt-large\"]').innerText.includes('drained')",
        )
        .await;
    assert_eq!(scene.state("targets", "gpt-large").await, "drained");
    browser
        .wait_for(
            "document.querySelector('#verdict').textContent.includes('No target available for large, only-large')",
        )
        .await;
    browser
        .wait_for(
            "document.querySelector('#orders').innerText.includes('anna ordered drain of target gpt-large')",
        )
        .await;
    browser.screenshot("desk-5-drained").await;

    // The page refreshes by itself.
    let elsewhere = Request::post("/llm-failsafe/targets/gpt-large/undo")
        .header("authorization", &format!("Bearer {OPERATOR}"));
    assert_eq!(elsewhere.send(scene.envoy.port()).await.unwrap().status, 200);
    browser
        .wait_for(
            "document.querySelector('[data-scope=\"targets/gpt-large\"]').innerText.includes('✓ closed')",
        )
        .await;

    // The key is in no address and in no storage that outlives the tab. Nothing was loaded from other hosts.
    let kept =
        browser.run("return [location.href, document.cookie, JSON.stringify(localStorage)].join(' ')").await;
    assert!(!kept.as_str().unwrap().contains(OPERATOR), "{kept}");
    let fetched = browser.run("return performance.getEntriesByType('resource').map(e => new URL(e.name)).filter(u => u.host !== location.host || u.search).map(String)").await;
    assert_eq!(fetched, json!([]));
    browser.click("#leave").await;
    browser
        .wait_for("!document.querySelector('#login').hidden && document.querySelector('#report').hidden")
        .await;
    assert_eq!(browser.run("return sessionStorage.length").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_phone_in_dark_mode_the_page_fits_and_takes_an_order() {
    let Some(browser) = Browser::start(PHONE).await else { return };
    let scene = PageScene::start().await;
    scene.go_wrong().await;
    let waiting = scene.fill_up().await;
    scene.enter(&browser).await;
    assert!(row(&browser, "targets/gpt-a").await.contains("✕ open"));
    browser
        .wait_for("document.querySelector('[data-model=\"one-by-one\"]').innerText.includes('1 waiting (')")
        .await;
    assert_fits(&browser).await;
    browser.screenshot("phone-1-top").await;
    browser.run("document.querySelector('[data-scope=\"targets/gpt-a\"]').scrollIntoView()").await;
    browser.screenshot("phone-2-targets").await;
    browser.run("document.querySelector('[data-scope=\"targets/llama\"]').scrollIntoView()").await;
    browser.screenshot("phone-2-well").await;
    browser.run("document.querySelector('#retries').scrollIntoView()").await;
    browser.screenshot("phone-2-retries").await;
    waiting.iter().for_each(JoinHandle::abort);
    browser.click("[data-scope='targets/gpt-a'] summary").await;
    assert_fits(&browser).await;
    browser.screenshot("phone-3-menu").await;
    browser.click("[data-scope='targets/gpt-a'] [data-order='force-close']").await;
    browser.wait_for("document.querySelector('#ask').open").await;
    browser.screenshot("phone-4-ask").await;
    browser.click("#ask-yes").await;
    browser
        .wait_for(
            "document.querySelector('[data-scope=\"targets/gpt-a\"]').innerText.includes('▣ forced closed')",
        )
        .await;
    let deadline = Instant::now() + SOON;
    while scene.state("targets", "gpt-a").await != "forced_closed" {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    browser.click("#only-ill").await;
    browser.wait_for("!document.querySelector('[data-scope=\"targets/llama\"]')").await;
    browser.run("scrollTo(0, 0)").await;
    browser.screenshot("phone-5-only-ill").await;
}
