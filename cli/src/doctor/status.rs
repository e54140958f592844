//! The status report for operators, in words.

use super::client::{Answer, Client};
use super::note::Note;
use super::state::{KeyBudgets, Load, Model, Order, SCHEMA, Scope, Status};
use super::words;
use crate::plural::count;

const RUNBOOK_NOBODY: &str = "docs/runbook.md#llmfailsafenobodyleft";
const RUNBOOK_BLOCKED: &str = "docs/runbook.md#llmfailsafeaccountblocked";
const RUNBOOK_OPENED: &str = "docs/runbook.md#llmfailsafebreakeropened";
const RUNBOOK_FLAPS: &str = "docs/runbook.md#llmfailsafebreakerflaps";
const RUNBOOK_RETRIES: &str = "docs/runbook.md#llmfailsaferetrieshigh";
const RUNBOOK_MEMORY: &str = "docs/runbook.md#llmfailsafememoryfull";
const OPERATORS: &str = "docs/operations.md#operators-page-and-orders";

/// A breaker that opened so often in a row gets another advice.
const MANY_TRIPS: u64 = 4;
/// A budget that is used to this share, in percent, is worth knowing.
const NEARLY_USED_PERCENT: u64 = 90;

/// What only the report says.
const STATE: &str = "the state of targets, accounts and budgets";

/// Gets the report and explains it. The second value says whether it could be read.
pub fn examine(client: &Client, url: &str, key: Option<&str>) -> (Vec<Note>, bool) {
    let Some(key) = key else {
        return (vec![Note::unchecked(STATE).advise("give an operator's key with --operator-key; `llm-failsafe keys add NAME --operator` makes one")], false);
    };
    match client.get(&format!("{url}/llm-failsafe/status"), Some(key)) {
        Err(why) => (vec![Note::problem(format!("the status report cannot be read: {why}"))], false),
        Ok(answer) if answer.status == 200 => read(&answer),
        Ok(answer) => (vec![refused(&answer), Note::unchecked(STATE)], false),
    }
}

fn refused(answer: &Answer) -> Note {
    match (answer.status, answer.reason()) {
        (_, Some("invalid_operator_key")) => Note::problem("the gateway does not know this operator's key")
            .advise("compare `llm-failsafe keys hash` with the digests below `operator`; a client key is not an operator's key"),
        (_, Some("expired_operator_key")) => Note::problem("this operator's key has expired")
            .advise("make a new one with `llm-failsafe keys add NAME --operator`"),
        (404, Some("unknown_path")) => Note::hint("the configuration has no `operator`, so there is no status report")
            .advise("add a key with `llm-failsafe keys add NAME --operator`"),
        (429, _) => Note::problem("the gateway serves no further report now").advise("try again in a second"),
        _ => Note::problem(format!("the status report gave {}", answer.described())),
    }
    .see(OPERATORS)
}

fn read(answer: &Answer) -> (Vec<Note>, bool) {
    match serde_json::from_str::<Status>(&answer.body) {
        Ok(status) if status.schema == SCHEMA => (explain(&status), true),
        Ok(status) => {
            let text =
                format!("{STATE} (the report has the format {}, this program knows {SCHEMA})", status.schema);
            (vec![Note::unchecked(text).advise("use the program of the gateway's version")], false)
        }
        Err(error) => (vec![Note::problem(format!("the status report cannot be read: {error}"))], false),
    }
}

fn explain(status: &Status) -> Vec<Note> {
    let versions = &status.versions;
    let envoy = versions.envoy.as_ref().map(|version| format!(" on Envoy {version}")).unwrap_or_default();
    let commit = versions.commit.as_ref().map(|commit| format!(" ({commit})")).unwrap_or_default();
    let mut notes = vec![Note::good(format!(
        "version {}{commit}{envoy}, configuration {}",
        versions.llm_failsafe, versions.configuration
    ))];
    if versions.llm_failsafe != env!("CARGO_PKG_VERSION") {
        notes.push(Note::hint(format!("this program has version {}", env!("CARGO_PKG_VERSION"))));
    }
    if status.mode == "shadow" {
        notes.push(
            Note::hint("`mode: shadow`: breakers only observe, so failing targets still get requests")
                .see("docs/operations.md#shadow-mode"),
        );
    }
    if !status.retry_loop {
        notes.push(Note::hint(
            "without `retry_loop` each request is one attempt: no failover within a request",
        ));
    }
    let before = notes.len();
    notes.extend(status.models.iter().flat_map(|model| model_notes(model, status.now_ms)));
    for (kind, scopes) in
        [("account", &status.accounts), ("endpoint", &status.endpoints), ("target", &status.targets)]
    {
        notes.extend(scopes.iter().filter_map(|scope| scope_note(kind, scope, status)));
    }
    notes.extend(status.targets.iter().flat_map(|target| used_up(target, status.now_ms)));
    let retries = &status.retry_budget;
    if retries.used > 0 && retries.used >= retries.allowed {
        let text = format!(
            "the retry budget is used up ({} of {}): clients get the first error",
            retries.used, retries.allowed
        );
        notes.push(
            Note::problem(text)
                .advise("find out which target fails most and `drain` it")
                .see(RUNBOOK_RETRIES),
        );
    }
    notes.extend(memory_note(&status.load));
    notes.extend(status.budgets.iter().flat_map(budget_notes));
    if notes.len() == before {
        notes.push(Note::good(format!(
            "all {} of {} accept requests, and no budget is used up",
            count(status.targets.len() as u64, ["target", "targets"]),
            count(status.models.len() as u64, ["model", "models"]),
        )));
    }
    notes
}

/// Whether the bodies of requests come close to what one worker may hold. The report counts all workers, so a worker may
/// already be full if the sum is.
fn memory_note(load: &Load) -> Option<Note> {
    let Load { held_bytes, max_held_bytes } = *load;
    let is_close = max_held_bytes > 0 && held_bytes >= max_held_bytes / 10 * 9;
    is_close.then(|| {
        let mebibytes = |bytes: u64| bytes >> 20;
        let text = format!(
            "request bodies hold {} MiB of Envoy's memory; a worker refuses large ones beyond {} MiB",
            mebibytes(held_bytes),
            mebibytes(max_held_bytes)
        );
        Note::hint(text)
            .advise("find out who sends large bodies, or raise `limits.max_held_bytes`")
            .see(RUNBOOK_MEMORY)
    })
}

fn model_notes(model: &Model, now_ms: u64) -> Vec<Note> {
    let Model { name, fit, of, queue } = model;
    let mut notes = Vec::new();
    if *fit == 0 {
        let who = match of {
            1 => "its only target does not accept requests".to_owned(),
            of => format!("none of its {of} targets accepts requests"),
        };
        let text = format!("model `{name}`: {who}, so clients get errors");
        notes.push(
            Note::problem(text)
                .advise("see the reasons of its targets and accounts below")
                .see(RUNBOOK_NOBODY),
        );
    } else if fit < of {
        notes.push(Note::hint(format!("model `{name}`: {fit} of {of} targets accept requests")));
    }
    if let Some(queue) = queue.as_ref().filter(|queue| queue.waiting > 0) {
        let since = queue
            .since_ms
            .map(|since| format!(", the first for {}", words::span(now_ms.saturating_sub(since))));
        let text = format!(
            "model `{name}`: {} in the queue{}",
            count(queue.waiting, ["request waits", "requests wait"]),
            since.unwrap_or_default()
        );
        // The limit is that of one worker, and the report counts all of them.
        let note = if queue.waiting >= queue.max_waiting {
            Note::problem(text + "; it is full, or nearly")
        } else {
            Note::hint(text)
        };
        notes.push(
            note.advise("add an account or a target, or get higher limits").see("docs/retries.md#the-queue"),
        );
    }
    notes
}

fn scope_note(kind: &str, scope: &Scope, status: &Status) -> Option<Note> {
    let who = format!("{kind} `{}`", scope.name);
    let since = scope
        .since_ms
        .map(|since| format!(" for {}", words::span(status.now_ms.saturating_sub(since))))
        .unwrap_or_default();
    let until = match scope.until_ms {
        Some(until) if until > status.now_ms => {
            format!("; next try in {}", words::span(until - status.now_ms))
        }
        Some(_) => "; the next request tries".to_owned(),
        None => String::new(),
    };
    let (rule, failure) = scope
        .reason
        .as_ref()
        .map(|reason| (reason.rule.as_str(), reason.failure.as_str()))
        .unwrap_or_default();
    let note = match scope.state.as_str() {
        "closed" => {
            let share = scope.share_permille?;
            Note::hint(format!("{who} has recovered and gets {} % of its usual traffic, growing", share / 10))
        }
        "blocked" => Note::problem(format!("{who} is blocked{since}: {}{until}", words::failure(failure)))
            .advise(words::advice(failure))
            .see(RUNBOOK_BLOCKED),
        "open" => {
            let text = format!(
                "{who} is open{since}: {}, {}{until}",
                words::failure(failure),
                words::rule(rule, scope.consecutive_failures)
            );
            let page = if scope.trips >= MANY_TRIPS { RUNBOOK_FLAPS } else { RUNBOOK_OPENED };
            Note::problem(text).advise(words::advice(failure)).see(page)
        }
        "half_open" => {
            Note::hint(format!("{who} is being probed after {}", words::failure(failure))).see(RUNBOOK_OPENED)
        }
        "throttled" => Note::hint(format!("{who} is at its rate limit{until}"))
            .advise("add an account, or distribute the load by `weight`"),
        "drained" | "forced_open" => Note::problem(format!(
            "{who} gets no requests by an operator's order{}",
            ordered(kind, scope, status)
        ))
        .advise(format!("if it is no longer needed: POST /llm-failsafe/{kind}s/{}/undo", scope.name))
        .see(OPERATORS),
        "forced_closed" => Note::hint(format!(
            "{who} gets requests even if it fails, by an operator's order{}",
            ordered(kind, scope, status)
        ))
        .see(OPERATORS),
        other => Note::hint(format!("{who} is in the state `{other}`")),
    };
    Some(note)
}

/// Who gave the last order for it.
fn ordered(kind: &str, scope: &Scope, status: &Status) -> String {
    let concerns = |order: &&Order| order.scope == kind && order.name == scope.name;
    let last = status.orders.iter().find(concerns);
    last.map(|order| format!(" (`{}` by {})", order.order, order.by)).unwrap_or_default()
}

/// Limits of a target of which nothing is left.
fn used_up(target: &Scope, now_ms: u64) -> Vec<Note> {
    let used_up = target.headroom.iter().filter(|limit| limit.left == Some(0));
    used_up
        .map(|limit| {
            let reset = limit.reset_ms.filter(|reset| *reset > now_ms);
            let reset = reset
                .map(|reset| format!("; full again in {}", words::span(reset - now_ms)))
                .unwrap_or_default();
            let text = format!(
                "target `{}`: nothing is left of its limit {} (from the {}){reset}",
                target.name, limit.of, limit.by
            );
            Note::hint(text).see("docs/balancing.md#headroom")
        })
        .collect()
}

/// A budget that refuses requests does what it is for. So it is no problem of the gateway.
fn budget_notes(of_key: &KeyBudgets) -> Vec<Note> {
    let notes = of_key.budgets.iter().filter_map(|budget| {
        let is_nearly_used =
            budget.used.saturating_mul(100) >= budget.limit.saturating_mul(NEARLY_USED_PERCENT);
        let what = format!(
            "key `{}`: {} of {} of its budget {}",
            of_key.key, budget.used, budget.limit, budget.budget
        );
        let note = if budget.used >= budget.limit {
            Note::hint(format!("{what} are used up: its clients get 429"))
                .advise("raise the budget or ask the holder of the key")
        } else if is_nearly_used {
            Note::hint(format!("{what} are used"))
        } else {
            return None;
        };
        Some(note.see("docs/keys-and-budgets.md#budgets"))
    });
    notes.collect()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
