//! `make demo`: shows failover on a terminal with a real Envoy, the shipped configuration and scripted providers.
//!
//! Every request that it shows is sent. It exits with 1 if a result is not as expected, and stops everything that it started.
//! With `--stay` it first waits for Enter, so that the printed commands can be tried. This file has the steps; [`stage`] sends,
//! prints and compares.

mod stage;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use integration_tests::provider::errors;
use serde_json::Value;
use stage::{CLIENT_KEY, Demo, Expected, TOKEN_EVERY, Wanted, print_tokens, question, say};

/// The `retry-after` of the first account.
const LIMITED_FOR: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let began = Instant::now();
    let stay = std::env::args().any(|argument| argument == "--stay");
    let mut demo = Demo::start().await;
    demo.introduce().await;
    demo.ordinary_request().await;
    demo.limited_account().await;
    demo.failing_provider().await;
    demo.recovered_provider().await;
    demo.failing_stream().await;
    demo.bad_requests().await;
    demo.wrong_key().await;
    demo.sum_up().await;
    if stay {
        say("\nEverything is still running. You can run the commands above. Press Enter to end the demo.");
        // A closed standard input also ends it.
        drop(std::io::stdin().read_line(&mut String::new()));
    }
    demo.end(began).await
}

impl Demo {
    async fn introduce(&self) {
        let info: Value =
            serde_json::from_str(&self.envoy.admin("/server_info").await).expect("the server's info");
        let version = info["version"].as_str().and_then(|text| text.split('/').nth(1)).unwrap_or("?");
        say(self
            .paint("1", "llm-failsafe: one URL, one key and one model name for several provider accounts"));
        say(format!(
            "
  client --> Envoy {version} on 127.0.0.1:{} with envoy/envoy.yaml and the filter
               |    the model `chat` is, in this order:
               +--> gpt-a   account openai-a   provider openai     127.0.0.1:{}
               +--> gpt-b   account openai-b   provider openai     the same
               +--> haiku   account claude     provider anthropic  127.0.0.1:{}

Envoy and the filter are real. The providers are scripted and run on this machine. The client knows only Envoy's address,
the key `{CLIENT_KEY}` and the model `chat`. A circuit breaker opens after 3 failures in a row, for 2 seconds.",
            self.envoy.port(),
            self.openai.port(),
            self.anthropic.port(),
        ));
    }

    async fn ordinary_request(&mut self) {
        self.heading("1. A request without a failure");
        self.exchange(&question(false), CLIENT_KEY, FIRST_CHOICE).await;
        self.providers_saw(&["openai-a"]);
    }

    async fn limited_account(&mut self) {
        self.heading("2. The first account reaches its rate limit: OpenAI answers 429 with `retry-after: 2`");
        self.openai.script(errors::openai_429().header("retry-after", &LIMITED_FOR.as_secs().to_string()));
        let limited_at = Instant::now();
        let moved = Expected {
            status: 200,
            headers: &[
                ("x-llm-target", Some("gpt-b")),
                ("x-llm-attempts", Some("2")),
                ("x-llm-fallback", Some("rate_limited")),
                ("x-llm-retry", None),
            ],
            body: "scripted OpenAI",
        };
        self.exchange(&question(false), CLIENT_KEY, moved).await;
        self.providers_saw(&["openai-a", "openai-b"]);
        say(
            "  The filter sent the request twice. The client got one successful response. The next request goes directly to gpt-b:\n",
        );
        let straight = Expected {
            status: 200,
            headers: &[
                ("x-llm-target", Some("gpt-b")),
                ("x-llm-attempts", Some("1")),
                ("x-llm-fallback", Some("throttled")),
            ],
            body: "scripted OpenAI",
        };
        self.exchange(&question(false), CLIENT_KEY, straight).await;
        self.providers_saw(&["openai-b"]);
        say("\n  The same request every 100 ms, until the first account is used again:");
        let told = ["x-llm-target: gpt-b, x-llm-fallback: throttled", "x-llm-target: gpt-a"];
        self.ask_until(Wanted::Target("gpt-a"), &told).await;
        let left_alone = limited_at.elapsed();
        self.expect(left_alone >= LIMITED_FOR, "the first account gets no request during its retry-after");
        self.providers_saw(&["openai-b", "openai-a"]);
    }

    async fn failing_provider(&mut self) {
        self.heading("3. The whole provider fails: OpenAI refuses connections");
        self.openai.stop().await;
        // A connection that is still open would break instead of being refused.
        self.envoy.wait_for_stat("cluster.openai.upstream_cx_active", |open| open == 0).await;
        let third = Expected {
            status: 200,
            headers: &[
                ("x-llm-target", Some("haiku")),
                ("x-llm-model", Some("claude-haiku-4-5")),
                ("x-llm-attempts", Some("3")),
                ("x-llm-fallback", Some("transport")),
            ],
            body: "scripted Anthropic",
        };
        self.exchange(&question(false), CLIENT_KEY, third).await;
        self.providers_saw(&["claude"]);
        self.refused_and_opened(2, 0).await;
        say(
            "  Both accounts failed because their provider is down, so the failures count for the provider. Another request:\n",
        );
        let second = Expected {
            status: 200,
            headers: &[
                ("x-llm-target", Some("haiku")),
                ("x-llm-attempts", Some("2")),
                ("x-llm-fallback", Some("transport")),
            ],
            body: "scripted Anthropic",
        };
        self.exchange(&question(false), CLIENT_KEY, second).await;
        self.refused_and_opened(3, 1).await;
        say("  This was the third failure in a row. The provider's breaker opened, so gpt-b was not tried. \
             From now on:\n");
        let first = Expected {
            status: 200,
            headers: &[
                ("x-llm-target", Some("haiku")),
                ("x-llm-attempts", Some("1")),
                ("x-llm-fallback", Some("open")),
            ],
            body: "scripted Anthropic",
        };
        self.exchange(&question(false), CLIENT_KEY, first).await;
        self.providers_saw(&["claude"]);
        self.refused_and_opened(3, 1).await;
        say("  OpenAI gets no requests, so no request waits for a failure there.");
    }

    async fn recovered_provider(&mut self) {
        self.heading("4. OpenAI works again. The same request every 100 ms, until the breaker closes");
        self.openai.restart().await;
        let told = ["x-llm-target: haiku, x-llm-fallback: open", "x-llm-target: gpt-a"];
        self.ask_until(Wanted::Counter("breaker_closed", 1), &told).await;
        self.providers_saw(&["openai-a", "claude"]);
        let probes = self.counter("breaker_probes").await;
        say(format!(
            "  After the open time, {probes} requests went to OpenAI as probes, one at a time. Both succeeded, so:\n"
        ));
        self.expect(probes == 2, "two probes close the breaker");
        self.exchange(&question(false), CLIENT_KEY, FIRST_CHOICE).await;
        self.providers_saw(&["openai-a"]);
    }

    async fn failing_stream(&mut self) {
        self.heading("5. A stream starts with status 200, but its first event is an error");
        self.openai.script(errors::openai_error_event());
        let mut response = self.send(&question(true), CLIENT_KEY).await;
        let expected = Expected {
            status: 200,
            headers: &[
                ("x-llm-target", Some("gpt-b")),
                ("x-llm-attempts", Some("2")),
                ("x-llm-fallback", Some("server")),
            ],
            body: "",
        };
        self.compare(&response, &expected);
        let (told, arrived) = print_tokens(&mut response).await;
        self.expect(told.contains("scripted OpenAI"), "the stream has the second account's response");
        self.expect(!told.contains("Internal error"), "nothing of the failed stream is in the response");
        let lasted = arrived.last().zip(arrived.first()).map(|(last, first)| last.duration_since(*first));
        let in_time = lasted.is_some_and(|lasted| lasted >= TOKEN_EVERY * 4);
        self.expect(in_time, "the tokens arrive one after another");
        say(format!("  {} tokens in {} ms", arrived.len(), lasted.unwrap_or_default().as_millis()));
        self.providers_saw(&["openai-a", "openai-b"]);
        say("  A response is held until its first content, so the client saw nothing of the first stream.");
    }

    async fn bad_requests(&mut self) {
        self.heading("6. Invalid requests get an error that gives the reason");
        let not_json = Expected {
            status: 400,
            headers: &[("x-llm-reason", Some("invalid_json")), ("x-llm-target", None)],
            body: "The request body cannot be used",
        };
        self.exchange(r#"{"model": "chat", "messages": ["#, CLIENT_KEY, not_json).await;
        say("");
        let unknown = Expected {
            status: 404,
            headers: &[("x-llm-reason", Some("model_not_found")), ("x-llm-target", None)],
            body: "`chatt` does not exist",
        };
        self.exchange(r#"{"model": "chatt", "messages": []}"#, CLIENT_KEY, unknown).await;
        self.providers_saw(&[]);
    }

    async fn wrong_key(&mut self) {
        self.heading("7. A wrong key is refused");
        let expected =
            Expected { status: 401, headers: &[("x-llm-reason", Some("invalid_api_key"))], body: "API key" };
        self.exchange(&question(false), "stolen-or-mistyped", expected).await;
        self.providers_saw(&[]);
    }

    /// The number of requests depends on the speed of the demo, so the counters are compared with what was sent and received.
    async fn sum_up(&mut self) {
        self.heading("The filter's counters");
        let refused = self.refused().await;
        let received = self.openai.received().len() + self.anthropic.received().len();
        let (failed, refusals) = (5, 3);
        let told = [
            ("requests", "client requests", self.sent),
            ("attempts", "attempts, including refused connections", received as u64 + refused),
            ("attempts_failed", "attempts that failed", failed),
            ("failovers", "failures that led to another attempt", failed),
            ("refusals", "requests refused by the filter", refusals),
            ("breaker_throttled", "targets throttled after a rate limit", 1),
            ("breaker_opened", "breakers that opened", 1),
            ("breaker_probes", "probe requests", 2),
            ("breaker_closed", "breakers that closed again", 1),
        ];
        for (name, meaning, value) in told {
            let counted = self.counter(name).await;
            say(format!("  llm_failsafe_{name:<20} {counted:>4}   {meaning}"));
            self.expect(counted == value, format!("{name} is {value}"));
        }
        let attempts = self.sent - refusals + failed;
        self.expect(
            received as u64 + refused == attempts,
            "every request reached one provider, plus one for each failure",
        );
    }
}

/// The first choice responds at the first attempt.
const FIRST_CHOICE: Expected = Expected {
    status: 200,
    headers: &[("x-llm-target", Some("gpt-a")), ("x-llm-attempts", Some("1")), ("x-llm-fallback", None)],
    body: "scripted OpenAI",
};
