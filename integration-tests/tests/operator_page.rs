//! The operators' page as a person meets it, in a real Chromium: on a phone and on a desk, in light and in dark. What it looked
//! like is left in `target/screenshots`.

use std::time::{Duration, Instant};

use integration_tests::browser::{Browser, Screen};
use integration_tests::client::Request;
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape};
use integration_tests::provider::{Script, ScriptedProvider, errors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

const OPERATOR: &str = "op-3f1c-secret";
const DESK: Screen = Screen { width: 1280, height: 1400, phone: false, dark: false };
const PHONE: Screen = Screen { width: 390, height: 844, phone: true, dark: true };

struct Scene {
    _providers: [ScriptedProvider; 4],
    envoy: Envoy,
}

impl Scene {
    /// One provider fails, the key at another is revoked, a third throttles and the last is well.
    async fn start() -> Self {
        let names = ["openai", "azure", "anthropic", "vllm"];
        let [openai, azure, anthropic, vllm] = names;
        let providers = [
            ScriptedProvider::start(openai).await,
            ScriptedProvider::start(azure).await,
            ScriptedProvider::start(anthropic).await,
            ScriptedProvider::start(vllm).await,
        ];
        let sha256: String = Sha256::digest(OPERATOR).iter().map(|byte| format!("{byte:02x}")).collect();
        let configuration = json!({
            "providers": names.iter().map(|name| ((*name).to_owned(), json!({"kind": "openai-compatible", "host": format!("{name}.test")}))).collect::<serde_json::Map<_, _>>(),
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
        let gateway = providers
            .iter()
            .zip(names)
            .fold(Gateway::new(Shape::Loop).plugin(&configuration), |gateway, (provider, name)| {
                gateway.provider(name, provider.port())
            })
            .concurrency(2);
        Self { _providers: providers, envoy: gateway.start().await }
    }

    async fn ask(&self, model: &str) -> u16 {
        Request::chat(model, false).send(self.envoy.port()).await.unwrap().read().await.status.as_u16()
    }

    /// Lets something go wrong at each of the providers but the last.
    async fn go_wrong(&self) {
        let [openai, azure, anthropic, vllm] = &self._providers;
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
        let deadline = Instant::now() + Duration::from_secs(20);
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

    /// A request takes the only place at its target, and another one waits for it, until both are dropped.
    async fn fill_up(&self) -> [JoinHandle<()>; 2] {
        let [_, _, _, vllm] = &self._providers;
        let left = vllm.received().len();
        vllm.script(Script::hang());
        let ask = |patience| {
            let request = Request::chat("one-by-one", true).patience(patience).send(self.envoy.port());
            tokio::spawn(async move { drop(request.await) })
        };
        let first = ask(Duration::from_secs(120));
        vllm.wait_for(left + 1, Duration::from_secs(10)).await;
        // The other worker has to know of it, or it would take a place, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
        [first, ask(Duration::from_secs(120))]
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

/// What a person can read in the row of a scope.
async fn row(browser: &Browser, scope: &str) -> String {
    browser.text(&format!("[data-scope='{scope}']")).await
}

/// Nothing is wider than the window, and nothing to be touched is smaller than a finger.
async fn assert_fits(browser: &Browser) {
    let sideways = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
    assert!(sideways.as_i64().unwrap() <= 0, "the page is {sideways} px wider than the window");
    let small = browser
        .run("return [...document.querySelectorAll('button,summary')].filter(b => b.offsetParent && b.getBoundingClientRect().height < 44).map(b => b.textContent)")
        .await;
    assert_eq!(small, json!([]), "too small to be touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_desk_a_person_sees_what_is_wrong_and_gives_an_order() {
    let Some(browser) = Browser::start(DESK).await else { return };
    let scene = Scene::start().await;
    scene.go_wrong().await;

    // A wrong key is told so, and the page asks again.
    browser.open(&format!("http://127.0.0.1:{}/llm-failsafe/", scene.envoy.port())).await;
    browser.wait_for("!document.querySelector('#login').hidden").await;
    browser.screenshot("desk-1-door").await;
    browser.write("#key", "guess").await;
    browser.click("#login button").await;
    browser.wait_for("document.querySelector('#note').textContent.includes('not known')").await;

    scene.enter(&browser).await;
    // State, symbol and reason are words; colour only helps.
    let gpt_a = row(&browser, "targets/gpt-a").await;
    assert!(gpt_a.contains("✕ open") && gpt_a.contains("failures in a row: server"), "{gpt_a}");
    let haiku = row(&browser, "targets/haiku").await;
    assert!(haiku.contains("‖ throttled") && haiku.contains("available again in"), "{haiku}");
    let account = row(&browser, "accounts/azure").await;
    assert!(account.contains("⊘ blocked") && account.contains("auth"), "{account}");
    assert!(browser.text("#verdict").await.contains("some breakers are not closed"));
    // How fast, how much is left, who waits, and how much may be attempted again.
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
    assert_fits(&browser).await;
    browser.screenshot("desk-2-trouble").await;
    waiting.iter().for_each(JoinHandle::abort);

    // An order is asked back before it is given.
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

    // The page refreshes by itself: what happens elsewhere is seen without a touch.
    let elsewhere = Request::post("/llm-failsafe/targets/gpt-large/undo")
        .header("authorization", &format!("Bearer {OPERATOR}"));
    assert_eq!(elsewhere.send(scene.envoy.port()).await.unwrap().status, 200);
    browser
        .wait_for(
            "document.querySelector('[data-scope=\"targets/gpt-large\"]').innerText.includes('✓ closed')",
        )
        .await;

    // The key is in no address and in nothing that outlives the tab, and nothing was fetched from elsewhere.
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
async fn on_a_phone_in_the_dark_it_is_readable_and_can_be_used() {
    let Some(browser) = Browser::start(PHONE).await else { return };
    let scene = Scene::start().await;
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
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.state("targets", "gpt-a").await != "forced_closed" {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    browser.click("#only-ill").await;
    browser.wait_for("!document.querySelector('[data-scope=\"targets/llama\"]')").await;
    browser.run("scrollTo(0, 0)").await;
    browser.screenshot("phone-5-only-ill").await;
}
