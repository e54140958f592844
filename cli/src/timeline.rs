//! A decision record as a timeline.

use std::fmt::Write as _;

use llm_failsafe::record::{AttemptRecord, CandidateRecord, NeedsRecord, Record, UsageRecord};

use crate::moment;

/// The timeline of one request.
pub fn of(record: &Record<'_>) -> String {
    let mut out = String::new();
    head(&mut out, record);
    for attempt in &record.attempts {
        line(
            &mut out,
            attempt.start_ms.saturating_sub(attempt.wait_ms.unwrap_or(0)),
            &considered(&attempt.candidates),
        );
        attempted(&mut out, record, attempt);
    }
    if !record.last_candidates.is_empty() {
        line(
            &mut out,
            record.duration_ms,
            &format!("{}: none was eligible", considered(&record.last_candidates)),
        );
    }
    tail(&mut out, record);
    out
}

fn head(out: &mut String, record: &Record<'_>) {
    let model = record.model.as_deref().unwrap_or("unknown model");
    let _ = writeln!(
        out,
        "{}  {} {model}  →  {}",
        moment::written(record.start_unix_ms),
        record.endpoint,
        verdict(record)
    );
    let ids = [
        ("request", &record.request_id),
        ("trace", &record.trace_id),
        ("key", &record.key_id),
        ("session", &record.session_hash),
    ];
    let ids: Vec<_> =
        ids.iter().filter_map(|(name, id)| Some(format!("{name} {}", id.as_deref()?))).collect();
    if !ids.is_empty() {
        let _ = writeln!(out, "  {}", ids.join(", "));
    }
    let policy = &record.policy;
    let place = if policy.retry_loop { "with the retry loop" } else { "with one listener" };
    let _ = writeln!(
        out,
        "  configuration {}, {}, {place}, filter {}",
        policy.config_hash, policy.mode, policy.filter_version
    );
    if let Some(needs) = &record.needs {
        let _ = writeln!(out, "  needs: {}", needed(needs));
    }
    if record.forgotten_attempts > 0 {
        let _ =
            writeln!(out, "  {} earlier attempts are unknown: a worker lost them", record.forgotten_attempts);
    }
}

fn verdict(record: &Record<'_>) -> String {
    let mut text = record.outcome.to_string();
    if let Some(reason) = &record.outcome_reason {
        let _ = write!(text, " ({reason})");
    }
    if let Some(status) = record.status {
        let _ = write!(text, ", status {status}");
    }
    let _ = write!(text, ", {}", time(record.duration_ms));
    text
}

fn needed(needs: &NeedsRecord<'_>) -> String {
    let mut all = vec![if needs.stream { "a stream".to_owned() } else { "no stream".to_owned() }];
    all.push(format!("{} items, {} bytes of text", needs.items, needs.text_bytes));
    let counts = [
        (u64::from(needs.tools), "tools"),
        (u64::from(needs.images), "images"),
        (u64::from(needs.audio), "audio parts"),
        (u64::from(needs.files), "files"),
        (needs.token_ids, "token ids"),
    ];
    all.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    all.extend(needs.max_tokens.map(|most| format!("at most {most} output tokens")));
    all.extend(needs.choices.map(|choices| format!("{choices} choices")));
    all.extend(needs.features.iter().map(ToString::to_string));
    all.extend(needs.state.iter().map(|state| format!("state: {state}")));
    all.join(", ")
}

fn considered(candidates: &[CandidateRecord<'_>]) -> String {
    let seen = candidates.iter().map(|candidate| {
        let mut text = format!("{} (tier {}, {}", candidate.target, candidate.tier, candidate.state);
        if let Some(until) = candidate.until_ms {
            let _ = write!(text, " until {}", time(until));
        }
        if let Some(reason) = candidate.rejected.as_ref().filter(|reason| **reason != candidate.state) {
            let _ = write!(text, ", ineligible: {reason}");
        }
        for closed in &candidate.gates {
            let _ = write!(text, ", {}: needed {}, offered {}", closed.gate, closed.needed, closed.offered);
        }
        text + ")"
    });
    format!("considered {}", seen.collect::<Vec<_>>().join(", "))
}

fn attempted(out: &mut String, record: &Record<'_>, attempt: &AttemptRecord<'_>) {
    if let Some(waited) = attempt.wait_ms {
        line(out, attempt.start_ms, &format!("waited {}", time(waited)));
    }
    let probe = if attempt.probe { ", a probe" } else { "" };
    let region = attempt.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    line(
        out,
        attempt.start_ms,
        &format!(
            "attempt {} → {} (account {}, {} at {}{region}): {}{probe}",
            attempt.number, attempt.target, attempt.account, attempt.model, attempt.host, attempt.why
        ),
    );
    if let Some(way) = &attempt.translated {
        let lost: Vec<_> = attempt.lost.iter().map(ToString::to_string).collect();
        let lost = if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") };
        line(out, attempt.start_ms, &format!("  translated {way}, lost {lost}"));
    }
    if let Some(at) = attempt.headers_ms {
        let status = attempt.status.map_or("no status".to_owned(), |status| status.to_string());
        let by = attempt.answered_by.as_deref().unwrap_or("an unknown sender");
        let id = attempt.provider_request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default();
        line(out, at, &format!("  {status} from {by}{id}"));
    }
    if let Some(at) = attempt.first_content_ms {
        line(out, at, "  first content");
    }
    let mut end = format!("  {}", attempt.end);
    if let Some(class) = &attempt.class {
        let _ = write!(end, ": {class}");
    }
    if let Some(error) = &attempt.provider_error {
        let words: Vec<_> =
            [&error.kind, &error.code].into_iter().flatten().map(ToString::to_string).collect();
        let _ = write!(end, " ({})", words.join(", "));
    }
    if let Some(stream) = &attempt.stream {
        let _ = write!(end, ", stream {} after {} events", stream.end, stream.events);
        if stream.longest_gap_ms > 0 {
            let _ = write!(end, ", longest gap {}", time(stream.longest_gap_ms));
        }
    }
    let _ = write!(end, ", {} bytes", attempt.response_bytes);
    if let Some(wait) = attempt.retry_after_ms {
        let _ = write!(end, ", asks to retry after {}", time(wait));
    }
    let _ = write!(end, ", billed: {}", attempt.billed);
    line(out, attempt.end_ms, &end);
    if let Some(then) = &attempt.then {
        let next = record.attempts.iter().find(|next| next.number == attempt.number + 1);
        let to = next.map(|next| format!(": {}", next.target)).unwrap_or_default();
        line(out, attempt.end_ms, &format!("  → {then}{to}"));
    }
}

fn tail(out: &mut String, record: &Record<'_>) {
    let mut facts = Vec::new();
    if let Some(UsageRecord { input, output, cached, .. }) = record.usage {
        facts.push(format!("{input} tokens in ({cached} cached), {output} out"));
    }
    if record.usage_missing {
        facts.push("usage is missing".to_owned());
    }
    if let Some(cost) = &record.cost {
        let at_least = if cost.complete { "" } else { "at least " };
        facts.push(format!("{at_least}${}.{:06}", cost.micro_usd / 1_000_000, cost.micro_usd % 1_000_000));
    }
    if record.attempts_maybe_billed > 1 {
        facts.push(format!("{} attempts may be billed", record.attempts_maybe_billed));
    }
    if record.cut.attempts > 0 || record.cut.candidates > 0 {
        let cut = record.cut;
        facts.push(format!("{} attempts and {} candidates are not listed", cut.attempts, cut.candidates));
    }
    line(out, record.duration_ms, &verdict(record));
    if !facts.is_empty() {
        line(out, record.duration_ms, &facts.join("; "));
    }
}

fn line(out: &mut String, at_ms: u64, text: &str) {
    let _ = writeln!(out, "{:>10}  {text}", time(at_ms));
}

fn time(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        10_000..600_000 => format!("{}.{} s", ms / 1000, ms / 100 % 10),
        _ => format!("{} min", ms / 60_000),
    }
}
