//! The operator paths `/llm-failsafe/…` in a real Envoy with two workers: access, the status report, and orders.

use std::time::{Duration, Instant};

use integration_tests::SOON;
use integration_tests::client::{Read, Request};
use integration_tests::envoy::Envoy;
use integration_tests::gateway::{Gateway, Shape, compatible};
use integration_tests::paths;
use integration_tests::provider::{Script, ScriptedProvider, errors};
use integration_tests::scene::{EVERY_WORKER, Scene};
use integration_tests::sha256;
use serde_json::{Value, json};

/// An order holds on every worker after this.
const HOLDS_AFTER: Duration = Duration::from_secs(1);

/// The pause between status requests, which are rate-limited.
const PAUSE: Duration = Duration::from_millis(100);

const OPERATOR: &str = "op-3f1c-secret";
const CLIENT: &str = "client-77aa-secret";

fn configuration() -> Value {
    json!({
        "providers": {
            "first": compatible("first"),
            "spare": compatible("spare"),
        },
        "accounts": {
            "a": {"provider": "first", "key": {"value": "sk-provider-a"}},
            "s": {"provider": "spare", "key": {"value": "sk-provider-s"}},
        },
        "targets": {
            "first": {"account": "a", "model": "first-model"},
            "spare": {"account": "s", "model": "spare-model"},
        },
        "models": {"chat": {"tiers": [["first"], ["spare"]]}},
        "keys": {"team": {"sha256": sha256(CLIENT), "budget": {"requests_per_minute": 1000}}},
        "operator": {"keys": {"anna": {"sha256": sha256(OPERATOR)}}},
    })
}

struct OperatorScene {
    first: ScriptedProvider,
    spare: ScriptedProvider,
    envoy: Envoy,
}

impl OperatorScene {
    async fn start(configuration: &Value) -> Self {
        let gateway = Gateway::new(Shape::Loop).plugin(configuration).concurrency(2);
        let scene = gateway.start_with(["first", "spare"]).await;
        let [first, spare] = scene.providers;
        Self { first, spare, envoy: scene.envoy }
    }

    async fn chat(&self) -> Read {
        let request = Request::chat("chat", false).header("authorization", &format!("Bearer {CLIENT}"));
        request.ask(self.envoy.port()).await
    }

    /// The targets that answer on all workers.
    async fn answering_targets(&self) -> Vec<String> {
        let mut targets = Vec::new();
        for _ in 0..EVERY_WORKER {
            let read = self.chat().await;
            targets.push(read.header("x-llm-target").unwrap_or("none").to_owned());
        }
        targets.sort();
        targets.dedup();
        targets
    }

    /// Waits until every worker sends all requests to this target.
    async fn wait_until_only_answers(&self, target: &str) {
        let deadline = Instant::now() + SOON;
        loop {
            let answered = self.answering_targets().await;
            if answered == [target] {
                return;
            }
            assert!(Instant::now() < deadline, "{answered:?}");
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Read {
        let request =
            headers.iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
        request.ask(self.envoy.port()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Read {
        let request =
            headers.iter().fold(Request::post(path), |request, (name, value)| request.header(name, value));
        request.ask(self.envoy.port()).await
    }

    async fn order(&self, path: &str) -> Value {
        let read = self.post(&format!("/llm-failsafe/{path}"), &[key()]).await;
        assert_eq!(read.status, 200, "{path}: {}", read.text());
        read.json()
    }

    /// Waits for a report with this property. Other workers report with their ticks.
    async fn status_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{status:#}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn status(&self) -> Value {
        let read = self.get("/llm-failsafe/status", &[key()]).await;
        assert_eq!(read.status, 200, "{}", read.text());
        read.json()
    }
}

fn key() -> (&'static str, &'static str) {
    ("authorization", "Bearer op-3f1c-secret")
}

fn reason(read: &Read) -> (u16, &str) {
    (read.status.as_u16(), read.header("x-llm-reason").unwrap_or_default())
}

fn named<'s>(status: &'s Value, list: &str, name: &str) -> &'s Value {
    status[list].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_effect_on_every_worker_within_a_second() {
    let scene = OperatorScene::start(&configuration()).await;
    assert_eq!(scene.answering_targets().await, ["first"]);
    let mut delays = Vec::new();
    for (order, answering, state) in [
        ("targets/first/force-open", "spare", "forced_open"),
        ("targets/first/undo", "first", "closed"),
        ("accounts/a/drain", "spare", "closed"),
        ("accounts/a/reset", "first", "closed"),
        ("endpoints/first/force-open", "spare", "closed"),
        ("endpoints/first/undo", "first", "closed"),
    ] {
        let ordered_at = Instant::now();
        scene.order(order).await;
        scene.wait_until_only_answers(answering).await;
        delays.push(ordered_at.elapsed());
        assert_eq!(named(&scene.status().await, "targets", "first")["state"], state, "{order}");
    }
    // On a busy machine a worker may be late.
    assert!(delays.iter().min() < Some(&HOLDS_AFTER), "{delays:?}");
    let orders = scene.status().await["orders"].clone();
    let told: Vec<_> = orders
        .as_array()
        .unwrap()
        .iter()
        .map(|order| format!("{} {} {} {}", order["by"], order["order"], order["scope"], order["name"]))
        .collect();
    assert_eq!(told.len(), 6);
    assert_eq!(told[5], r#""anna" "force-open" "target" "first""#, "the newest order comes first");
    scene.envoy.wait_for_count("operator_orders", 6).await;
    scene.envoy.wait_for_log("operator anna ordered force-open of target first").await;
    assert!(!scene.envoy.log().contains(OPERATOR));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_shows_an_open_breaker_and_a_probe_order_closes_it() {
    let mut configuration = configuration();
    configuration["breaker"] = json!({"consecutive": 3, "open": "60s"});
    let scene = OperatorScene::start(&configuration).await;
    scene.first.by_default(errors::openai_500());
    let deadline = Instant::now() + SOON;
    let status = loop {
        assert_eq!(scene.chat().await.status, 200);
        let status = scene.status().await;
        if named(&status, "targets", "first")["state"] == "open" {
            break status;
        }
        assert!(Instant::now() < deadline, "{status:#}");
        tokio::time::sleep(PAUSE).await;
    };
    let first = named(&status, "targets", "first");
    assert_eq!(first["reason"], json!({"rule": "consecutive", "failure": "server"}));
    assert_eq!((&first["account"], &first["endpoint"]), (&json!("a"), &json!("first")));
    assert!(first["until_ms"].as_u64() > status["now_ms"].as_u64(), "{first}");
    // Some times are up to a tick ahead.
    let ago = status["now_ms"].as_i64().unwrap() - first["since_ms"].as_i64().unwrap();
    assert!((-200..15_000).contains(&ago), "{first}");
    assert_eq!(first["window"]["failures"], 3);
    assert_eq!((&status["models"][0]["fit"], &status["models"][0]["of"]), (&json!(1), &json!(2)));
    assert_eq!(named(&status, "targets", "spare")["state"], "closed");
    let team = &status["budgets"][0];
    assert_eq!(
        (&team["key"], &team["budgets"][0]["budget"]),
        (&json!("team"), &json!("requests_per_minute"))
    );
    assert_eq!(team["budgets"][0]["limit"], 1000);
    assert!(team["budgets"][0]["used"].as_u64().unwrap() >= 3, "{team}");
    let envoy = status["versions"]["envoy"].as_str().expect("Envoy tells its version");
    assert!(scene.envoy.admin("/server_info").await.contains(&format!("/{envoy}/")), "{envoy}");

    // The target works again before its open time ends. An operator lets a probe through.
    scene.first.by_default(Script::usual());
    scene.wait_until_only_answers("spare").await;
    let answer = scene.order("targets/first/probe").await;
    assert_eq!(answer["now"]["state"], "half_open");
    let deadline = Instant::now() + SOON;
    while named(&scene.status().await, "targets", "first")["state"] != "closed" {
        scene.chat().await;
        tokio::time::sleep(PAUSE).await;
        assert!(Instant::now() < deadline, "{:#}", scene.status().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operators_key_is_accepted_and_only_for_operator_paths() {
    let scene = OperatorScene::start(&configuration()).await;
    let (status, order) = ("/llm-failsafe/status", "/llm-failsafe/targets/first/force-open");
    for headers in [
        vec![],
        vec![("authorization", "Bearer client-77aa-secret")],
        vec![("authorization", "Bearer op-3f1c-secre")],
        vec![("x-api-key", OPERATOR)],
        vec![("cookie", "authorization=op-3f1c-secret")],
    ] {
        assert_eq!(reason(&scene.get(status, &headers).await), (401, "invalid_operator_key"), "{headers:?}");
        assert_eq!(reason(&scene.post(order, &headers).await), (401, "invalid_operator_key"), "{headers:?}");
    }
    let in_the_url =
        scene.get(&format!("{status}?key={OPERATOR}&authorization=Bearer%20{OPERATOR}"), &[]).await;
    assert_eq!(reason(&in_the_url), (401, "invalid_operator_key"));
    let as_a_client = Request::chat("chat", false).header(key().0, key().1);
    let as_a_client = as_a_client.ask(scene.envoy.port()).await;
    assert_eq!(reason(&as_a_client), (401, "invalid_api_key"));
    assert_eq!(scene.answering_targets().await, ["first"], "no order took effect");
    assert!(scene.status().await["orders"].as_array().unwrap().is_empty());

    // Invalid requests with the right key.
    for (path, expected) in [
        ("/llm-failsafe/targets/nobody/drain", (404, "unknown_name")),
        ("/llm-failsafe/targets/first/explode", (404, "unknown_path")),
        ("/llm-failsafe/targets/first/drain/now", (404, "unknown_path")),
        ("/llm-failsafe/status", (405, "method_not_allowed")),
    ] {
        assert_eq!(reason(&scene.post(path, &[key()]).await), expected, "{path}");
    }
    assert_eq!(reason(&scene.get(order, &[key()]).await), (405, "method_not_allowed"));
    assert_eq!(reason(&scene.get("/llm-failsafely", &[key()]).await), (404, "unknown_path"));
    for headers in [[key(), ("sec-fetch-site", "cross-site")], [key(), ("sec-fetch-site", "same-site")]] {
        assert_eq!(reason(&scene.post(order, &headers).await), (403, "cross_site_request"), "{headers:?}");
    }
    for form in
        ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "Multipart/Form-Data; boundary=x"]
    {
        let read = scene.post(order, &[key(), ("content-type", form)]).await;
        assert_eq!(reason(&read), (415, "unsupported_content_type"), "{form}");
    }
    assert!(scene.status().await["orders"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_orders_are_declined_and_wrong_keys_lock_no_operator_out() {
    let scene = OperatorScene::start(&configuration()).await;
    for _ in 0..200 {
        let read = scene.get("/llm-failsafe/status", &[("authorization", "Bearer guess")]).await;
        assert_eq!(read.status, 401);
    }
    let mut declined = 0;
    for _ in 0..200 {
        let read = scene.post("/llm-failsafe/targets/first/undo", &[key()]).await;
        if read.status == 429 {
            assert_eq!(reason(&read), (429, "too_many_requests"));
            assert!(read.header("retry-after").is_some());
            declined += 1;
        } else {
            assert_eq!(read.status, 200, "{}", read.text());
        }
    }
    assert!(declined >= 50, "{declined} of 200 orders at once were declined");
    assert_eq!(scene.chat().await.status, 200, "clients are not affected");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_contains_no_data_and_loads_nothing_from_other_hosts() {
    let scene = OperatorScene::start(&configuration()).await;
    let page = scene.get("/llm-failsafe/", &[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    let text = page.text();
    assert!(
        !text.contains("first-model") && !text.contains("://"),
        "the page has no data and no address of another host"
    );
    let moved = scene.get("/llm-failsafe", &[]).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, Some("/llm-failsafe/")));
}

/// The rule as docs/operations.md shows it. It does not allow the network of this machine.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_network_rule_blocks_other_networks() {
    let page = std::fs::read_to_string(paths::root().join("docs/operations.md")).unwrap();
    let block = page.split("```yaml\n").find(|block| block.starts_with("http_filters:")).unwrap();
    let rule: Value = serde_yaml_ng::from_str(block.split("```").next().unwrap()).unwrap();
    for (network, expected) in [("10.0.0.0", 403), ("127.0.0.0", 200)] {
        let text = rule["http_filters"][0].to_string().replace("10.0.0.0", network);
        let gateway = Gateway::new(Shape::Loop).plugin(&configuration()).edit(|config| {
            let edge = config.pointer_mut(
                "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters",
            );
            edge.unwrap().as_array_mut().unwrap().insert(0, serde_json::from_str(&text).unwrap());
        });
        let Scene { envoy, .. } = gateway.start_with(["first", "spare"]).await;
        let get = |path: &str| Request::get(path).header(key().0, key().1).send(envoy.port());
        assert_eq!(get("/llm-failsafe/status").await.unwrap().status, expected, "{network}");
        let models = Request::get("/v1/models").header("x-api-key", CLIENT).send(envoy.port()).await.unwrap();
        assert_eq!(models.status, 200, "clients are not affected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_operator_keys_the_paths_get_404_that_says_what_is_missing() {
    let mut configuration = configuration();
    configuration.as_object_mut().unwrap().remove("operator");
    let scene = OperatorScene::start(&configuration).await;
    for path in ["/llm-failsafe", "/llm-failsafe/", "/llm-failsafe/status"] {
        let read = scene.get(path, &[key()]).await;
        assert_eq!(reason(&read), (404, "unknown_path"), "{path}");
        assert!(
            read.text().contains("the gateway's configuration has no `operator`"),
            "{path}: {}",
            read.text()
        );
    }
    assert_eq!(scene.post("/llm-failsafe/targets/first/drain", &[key()]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_shows_latency_limits_queues_and_the_retry_budget_of_all_workers() {
    let mut configuration = configuration();
    configuration["targets"]["first"]["limits"] = json!({"requests_per_minute": 1000});
    configuration["models"]["line"] =
        json!({"targets": ["spare"], "retry": {"attempts": 1, "queue": {"max_wait": "30s"}}});
    let scene = OperatorScene::start(&configuration).await;
    let slow = Script::usual().delay_headers(Duration::from_millis(150));
    scene.first.by_default(
        slow.header("x-ratelimit-limit-requests", "500")
            .header("x-ratelimit-remaining-requests", "480")
            .header("x-ratelimit-reset-requests", "60s"),
    );
    let status = scene.status().await;
    let first = named(&status, "targets", "first");
    assert!(first.get("first_content").is_none(), "nothing was measured yet: {first}");
    assert_eq!(
        first["headroom"].as_array().unwrap().len(),
        1,
        "the provider has reported no limit yet: {first}"
    );

    scene.first.script(errors::openai_500());
    for _ in 0..EVERY_WORKER {
        assert_eq!(scene.chat().await.status, 200);
    }
    let sent = EVERY_WORKER as u64;
    let status = scene
        .status_until(|status| {
            let first = named(status, "targets", "first");
            first["first_content"]["attempts"] == sent - 1 && status["retry_budget"]["requests"] == sent
        })
        .await;
    let first = named(&status, "targets", "first");
    let [mean, slowest] =
        ["mean_ms", "slowest_ms"].map(|member| first["first_content"][member].as_u64().unwrap());
    // The filter's clock may be up to a tick old.
    assert!((50..5_000).contains(&mean) && mean <= slowest, "{first}");
    let said = &first["headroom"][0];
    assert_eq!(
        (&said["of"], &said["by"], &said["limit"]),
        (&json!("requests"), &json!("provider"), &json!(500))
    );
    assert!(said["left"].as_u64().unwrap() <= 480 && said["reset_ms"].as_u64() > status["now_ms"].as_u64());
    let stated =
        json!({"of": "requests_per_minute", "by": "configuration", "limit": 1000, "left": 1000 - sent});
    assert_eq!(first["headroom"][1], stated);
    // Retries are allowed for a fifth of the requests and for a hundred more in ten seconds.
    let budget = json!({"window_s": 10, "requests": sent, "used": 1, "allowed": 104, "left": 103});
    assert_eq!(status["retry_budget"], budget);

    let limited = json!({"error": {"code": "rate_limit_exceeded"}});
    scene.spare.script(Script::status(429).json(limited).header("retry-after", "8"));
    let ask = || {
        let request = Request::chat("line", false).header("authorization", &format!("Bearer {CLIENT}"));
        request.send(scene.envoy.port())
    };
    assert_eq!(ask().await.unwrap().read().await.status, 429);
    tokio::time::sleep(HOLDS_AFTER).await;
    let waiting = [ask(), ask(), ask()].map(tokio::spawn);
    let status = scene.status_until(|status| named(status, "models", "line")["queue"]["waiting"] == 3).await;
    let queue = &named(&status, "models", "line")["queue"];
    assert_eq!((&queue["max_waiting"], &queue["max_wait_ms"]), (&json!(100), &json!(30_000)));
    assert!(queue["bytes"].as_u64().unwrap() > 100, "{queue}");
    let waits = status["now_ms"].as_i64().unwrap() - queue["since_ms"].as_i64().unwrap();
    assert!((-200..8_500).contains(&waits), "{queue}");
    assert!(named(&status, "models", "chat").get("queue").is_none(), "this model has no queue");
    for answer in waiting {
        assert_eq!(answer.await.unwrap().unwrap().read().await.status, 200);
    }
    let status = scene.status_until(|status| named(status, "models", "line")["queue"]["waiting"] == 0).await;
    assert!(named(&status, "models", "line")["queue"].get("since_ms").is_none(), "{status:#}");
}
