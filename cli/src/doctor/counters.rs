//! Envoy's counters, from its admin interface.

use super::client::Client;
use super::note::Note;
use crate::plural::count;

/// A counter that is above zero only if something is wrong.
struct Sign {
    /// The beginning of its name. `*` stands for one part, such as the name of a listener.
    name: &'static str,
    /// What it counts: one, and several.
    meaning: [&'static str; 2],
    advice: &'static str,
    page: &'static str,
}

const REJECTED_FILTER: [&str; 2] = [
    "file of the filter that Envoy did not take; it went on with the earlier one",
    "files of the filter that Envoy did not take; it went on with the earlier ones",
];
const REJECTED_KEY: [&str; 2] = [
    "key file that Envoy did not take; it went on with the earlier key",
    "key files that Envoy did not take; it went on with the earlier keys",
];
const FILTER_FILE: &str = "docs/live-changes.md#change-the-configuration";
const KEY_FILE: &str = "docs/live-changes.md#replace-a-providers-key";

const SIGNS: [Sign; 18] = [
    Sign {
        name: "http.*.no_cluster",
        meaning: [
            "request for a cluster that Envoy does not have",
            "requests for a cluster that Envoy does not have",
        ],
        advice: "name the cluster like the provider, or set `cluster` at the provider; `llm-failsafe check` finds it",
        page: "docs/operations.md#envoy-and-the-filter",
    },
    Sign {
        name: "listener_manager.lds.update_rejected",
        meaning: [
            "update of the configuration that Envoy rejected; it went on with the earlier one",
            "updates of the configuration that Envoy rejected; it went on with the earlier one",
        ],
        advice: "Envoy's log lists every mistake; check the file with `llm-failsafe check`",
        page: "docs/operations.md#envoy-and-the-filter",
    },
    Sign {
        name: "extension_config_discovery.http_filter.*.update_rejected",
        meaning: REJECTED_FILTER,
        advice: "Envoy's log lists every mistake; check the file with `llm-failsafe check`, and rename it once more",
        page: FILTER_FILE,
    },
    Sign {
        name: "extension_config_discovery.http_filter.*.update_failure",
        meaning: REJECTED_FILTER,
        advice: "the file is not there or is not YAML of Envoy; Envoy's log says why",
        page: FILTER_FILE,
    },
    Sign {
        name: "sds.*.update_rejected",
        meaning: REJECTED_KEY,
        advice: "Envoy's log says why; write the whole file once more, and rename it",
        page: KEY_FILE,
    },
    Sign {
        name: "sds.*.update_failure",
        meaning: REJECTED_KEY,
        advice: "the file is not there, is empty or is not YAML of Envoy; write the whole file once more, and rename it",
        page: KEY_FILE,
    },
    Sign {
        name: "cluster.*.credential_injector.failed",
        meaning: [
            "attempt that failed because its key file has no key",
            "attempts that failed because their key file has no key",
        ],
        advice: "write the key into the file of that account, and rename it",
        page: KEY_FILE,
    },
    Sign {
        name: "listener_manager.listener_create_failure",
        meaning: ["listener that Envoy could not create", "listeners that Envoy could not create"],
        advice: "Envoy's log says why; check the file with `llm-failsafe check`",
        page: "docs/operations.md#envoy-and-the-filter",
    },
    Sign {
        name: "wasm.*.vm_reload_success",
        meaning: [
            "crash of the filter's VM; the requests in it were lost",
            "crashes of the filter's VM; the requests in it were lost",
        ],
        advice: "report the defect, with Envoy's log around it",
        page: "docs/runbook.md#llmfailsafecrashed",
    },
    Sign {
        name: "wasmcustom.llm_failsafe_shared_data_failed",
        meaning: ["change that only one worker knows", "changes that only one worker knows"],
        advice: "a few under heavy load are harmless; if it grows, restart this Envoy",
        page: "docs/runbook.md#llmfailsafeshareddatafails",
    },
    Sign {
        name: "wasmcustom.llm_failsafe_host_calls_failed",
        meaning: [
            "call to Envoy that failed although a request depended on it",
            "calls to Envoy that failed although a request depended on them",
        ],
        advice: "report the defect, with Envoy's log",
        page: "docs/operations.md#metrics-without-labels",
    },
    Sign {
        name: "wasmcustom.llm_failsafe_model_not_found",
        meaning: [
            "attempt whose provider did not know the model",
            "attempts whose provider did not know the model",
        ],
        advice: "check `model` of the targets",
        page: "docs/operations.md#what-to-watch",
    },
    Sign {
        name: "wasmcustom.llm_failsafe_journeys_full",
        meaning: [
            "request that got only one attempt because a worker remembers too many",
            "requests that got only one attempt because a worker remembers too many",
        ],
        advice: "set `include_request_attempt_count` at the edge; if it is set, raise `limits.max_journeys`",
        page: "docs/operations.md#envoy-and-the-filter",
    },
    Sign {
        name: "wasmcustom.llm_failsafe_held_refusals",
        meaning: [
            "large request that was refused because the bodies of others left no room",
            "large requests that were refused because the bodies of others left no room",
        ],
        advice: "find out who sends large bodies, or raise `limits.max_held_bytes`",
        page: "docs/runbook.md#llmfailsafememoryfull",
    },
    Sign {
        name: "filesystem.write_failed",
        meaning: [
            "write to a log that failed, so its lines are lost",
            "writes to logs that failed, so their lines are lost",
        ],
        advice: "look for a full disk at the path of the access log",
        page: "docs/runbook.md#llmfailsafelogsfail",
    },
    Sign {
        name: "cluster.loop.upstream_rq_retry_overflow",
        meaning: [
            "retry that the cluster `loop` did not allow",
            "retries that the cluster `loop` did not allow",
        ],
        advice: "raise `max_retries` of its circuit_breakers",
        page: "docs/operations.md#retries-that-envoy-declines",
    },
    Sign {
        name: "cluster.loop.upstream_rq_retry_limit_exceeded",
        meaning: [
            "request that needed more retries than the edge makes",
            "requests that needed more retries than the edge makes",
        ],
        advice: "set `num_retries` to at least the largest `attempts` minus one",
        page: "docs/operations.md#retries-that-envoy-declines",
    },
    Sign {
        name: "cluster.loop.retry_or_shadow_abandoned",
        meaning: ["request that was too large to be repeated", "requests that were too large to be repeated"],
        advice: "raise `request_body_buffer_limit` of the edge above `limits.max_body`",
        page: "docs/operations.md#retries-that-envoy-declines",
    },
];

/// Only these counters, so that the answer is small.
const FILTER: &str = "%5E(http%5C..*no_cluster%7Clistener_manager%7Cwasm%7Ccluster%5C.(llm-failsafe-)%3Floop%5C.%7Cextension_config_discovery%7Csds%5C.%7Cfilesystem%5C.%7Ccluster%5C..*credential_injector)";

/// The most parts of names that are shown for one sign.
const MAX_PARTS: usize = 4;

/// What is before and behind the name of a model in the gauge that counts its targets that accept requests. The second form is
/// Istio's (`metric_labels`).
const FIT: [[&str; 2]; 2] = [
    ["wasmcustom.llm_failsafe_model_targets_fit;model=", ""],
    ["wasmcustom.model=.=", ";.;llm_failsafe_model_targets_fit"],
];

/// The loop's cluster in a service mesh, and elsewhere.
const LOOP: [&str; 2] = ["cluster.llm-failsafe-loop.", "cluster.loop."];

/// Gets the counters and explains those that should be zero. If the state of the targets is not known from the status
/// report, a gauge says which models have no target left.
pub fn examine(client: &Client, admin: &str, is_state_known: bool) -> Vec<Note> {
    let answer = match client.get(&format!("{admin}/stats?filter={FILTER}"), None) {
        Ok(answer) => answer,
        Err(why) => return vec![Note::problem(format!("Envoy's admin interface cannot be read: {why}"))],
    };
    if answer.status != 200 || !answer.body.contains("listener_manager.") {
        let text = format!("{admin} is not Envoy's admin interface: /stats gave {}", answer.described());
        return vec![Note::problem(text)];
    }
    let mut notes = explain(&answer.body.replace(LOOP[0], LOOP[1]));
    if !answer.body.contains("wasmcustom.llm_failsafe_") {
        let text =
            "this Envoy has no counters of llm-failsafe: the filter is not loaded, or this is another Envoy";
        notes.push(Note::problem(text).advise("Envoy's log says why a filter does not load"));
    } else if notes.is_empty() {
        notes.push(Note::good("no counter of Envoy shows a defect"));
    }
    if !is_state_known {
        notes.extend(dead_models(&answer.body));
    }
    notes
}

/// Models of which no target accepts requests.
fn dead_models(stats: &str) -> Vec<Note> {
    let gauges = stats.lines().filter_map(|line| line.rsplit_once(": "));
    let dead = gauges.filter(|(_, fit)| fit.trim() == "0");
    let model_of = |name: &'_ str| {
        let model = |[before, behind]: [&str; 2]| name.strip_prefix(before)?.strip_suffix(behind);
        FIT.into_iter().find_map(model).map(str::to_owned)
    };
    dead.filter_map(|(name, _)| model_of(name))
        .map(|model| {
            Note::problem(format!(
                "model `{model}`: none of its targets accepts requests, so clients get errors"
            ))
            .advise("give an operator's key with --operator-key to see the reasons")
            .see("docs/runbook.md#llmfailsafenobodyleft")
        })
        .collect()
}

fn explain(stats: &str) -> Vec<Note> {
    let lines: Vec<_> = stats.lines().filter_map(|line| line.split_once(": ")).collect();
    SIGNS
        .iter()
        .filter_map(|sign| {
            let counters = lines.iter().filter_map(|(name, value)| {
                Some((part(sign.name, name)?, value.trim().parse::<u64>().ok().filter(|value| *value > 0)?))
            });
            let counters: Vec<_> = counters.collect();
            let sum = counters.iter().fold(0, |sum: u64, (_, value)| sum.saturating_add(*value));
            let name = sign.name.trim_start_matches("wasmcustom.");
            (sum > 0).then(|| {
                let parts: Vec<_> =
                    counters.iter().map(|(part, _)| *part).filter(|part| !part.is_empty()).collect();
                let whose = match parts.get(..MAX_PARTS) {
                    Some(first) if parts.len() > MAX_PARTS => format!(" of {}, …", first.join(", ")),
                    _ if parts.is_empty() => String::new(),
                    _ => format!(" of {}", parts.join(", ")),
                };
                Note::problem(format!("{} (`{name}`{whose}, since Envoy started)", count(sum, sign.meaning)))
                    .advise(sign.advice)
                    .see(sign.page)
            })
        })
        .collect()
}

/// What `*` stands for in this name, which is any text; `None` if it is another name.
fn part<'n>(pattern: &str, name: &'n str) -> Option<&'n str> {
    match pattern.split_once('*') {
        Some((start, end)) => name.strip_prefix(start)?.strip_suffix(end),
        None => (name == pattern).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_above_zero_are_explained_and_summed_over_listeners() {
        let stats = "http.edge.no_cluster: 2\nhttp.inner.no_cluster: 3\nhttp.inner.downstream_rq_5xx: 9\n\
                     listener_manager.lds.update_rejected: 0\nwasm.llm-failsafe.vm_reload_success: 1\n";
        let notes: Vec<_> = explain(stats).iter().map(Note::to_string).collect();
        assert_eq!(notes.len(), 2, "{notes:#?}");
        assert!(
            notes[0].contains(
                "5 requests for a cluster that Envoy does not have (`http.*.no_cluster` of edge, inner, since"
            ),
            "{}",
            notes[0]
        );
        assert!(
            notes[1].contains("1 crash of the filter's VM") && notes[1].contains("#llmfailsafecrashed"),
            "{}",
            notes[1]
        );
        assert!(explain("").is_empty());
    }

    #[test]
    fn files_that_envoy_did_not_take_are_named() {
        let counter = "extension_config_discovery.http_filter.llm-failsafe.update_rejected: 1\n\
                       extension_config_discovery.http_filter.llm-failsafe.update_success: 3\n\
                       cluster.openai-a.credential_injector.failed: 2\n";
        let keys: String = (1..=5).map(|number| format!("sds.k{number}.update_failure: 1\n")).collect();
        let notes: Vec<_> = explain(&format!("{counter}{keys}")).iter().map(Note::to_string).collect();
        let [filter, keys, injector] = notes.as_slice() else { panic!("{notes:#?}") };
        assert!(filter.contains("1 file of the filter that Envoy did not take"), "{filter}");
        assert!(filter.contains("update_rejected` of llm-failsafe, since"), "{filter}");
        assert!(keys.contains("5 key files") && keys.contains(" of k1, k2, k3, k4, …, since"), "{keys}");
        assert!(
            injector.contains("2 attempts that failed") && injector.contains(" of openai-a, "),
            "{injector}"
        );
    }

    #[test]
    fn a_model_without_a_target_that_accepts_requests_is_a_problem() {
        let stats = "wasmcustom.llm_failsafe_model_targets_fit;model=meta/llama:free: 0\n\
                     wasmcustom.llm_failsafe_model_targets_fit;model=chat: 2\n\
                     wasmcustom.llm_failsafe_model_targets_fit;model=ten: 10\n";
        let notes: Vec<_> = dead_models(stats).iter().map(Note::to_string).collect();
        let [note] = notes.as_slice() else { panic!("{notes:#?}") };
        assert!(note.contains("PROBLEM: model `meta/llama:free`: none of its targets accepts"), "{note}");
        let family = llm_failsafe::record::Family::TargetsFit;
        assert!(FIT.iter().all(|parts| parts.concat().contains(family.name())));
        let stats = "wasmcustom.model=.=gpt-4.1;.;llm_failsafe_model_targets_fit: 0\n\
                     wasmcustom.model=.=chat;.;llm_failsafe_model_targets_fit: 1\n";
        let notes: Vec<_> = dead_models(stats).iter().map(Note::to_string).collect();
        assert!(notes.len() == 1 && notes[0].contains("model `gpt-4.1`"), "{notes:#?}");
    }

    #[test]
    fn every_metric_of_the_filter_exists() {
        let known: Vec<_> = llm_failsafe::record::Metric::ALL.iter().map(|metric| metric.name()).collect();
        for sign in SIGNS.iter().filter_map(|sign| sign.name.strip_prefix("wasmcustom.")) {
            assert!(known.contains(&sign), "{sign}");
        }
    }
}
