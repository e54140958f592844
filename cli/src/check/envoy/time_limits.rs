//! Envoy's time limits, compared with the filter's own (`stream` of a model).

use std::time::Duration;

use llm_failsafe::config::Config;

use super::Subject;
use crate::check::finding::Finding;
use crate::envoy::{Manager, Position, Retry, Route, To};

/// How long a response may take if a route does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// The filter's longest limits.
struct Limits {
    /// For a whole request.
    total: Duration,
    /// For a silence within one.
    silence: Duration,
}

/// Limits that end requests earlier than the filter would.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let limits = longest(subject.config);
    let mut findings = Vec::new();
    for position in subject.positions {
        let to_providers = routes(position).filter(|route| matches!(route.to, To::Header(_)));
        findings.extend(to_providers.flat_map(|route| of_route(route, position.manager, &limits)));
        findings.extend(of_manager(position.manager, &limits));
        for way in &position.ways {
            findings.extend(of_route(way.route, way.manager, &limits));
            findings.extend(of_manager(way.manager, &limits));
            findings.extend(way.retry().and_then(|retry| of_retry(retry, &limits)));
        }
    }
    // A manager or route may be on several ways.
    let mut unique: Vec<Finding> = Vec::new();
    for finding in findings {
        if !unique.contains(&finding) {
            unique.push(finding);
        }
    }
    unique
}

fn longest(config: &Config) -> Limits {
    let policies =
        || config.models().iter().flat_map(|model| [model.stream.may_reason, model.stream.never_reasons]);
    Limits {
        total: policies().map(|policy| policy.total).max().unwrap_or_default(),
        silence: policies()
            .flat_map(|policy| [policy.first_content, policy.idle, policy.content_idle, policy.answer])
            .max()
            .unwrap_or_default(),
    }
}

fn routes<'e>(position: &Position<'e>) -> impl Iterator<Item = &'e Route> + use<'e> {
    position.manager.routes.iter().flat_map(|table| &table.hosts).flat_map(|host| &host.routes)
}

fn of_route(route: &Route, manager: &Manager, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = format!("{}.route.timeout", route.path);
    match route.timeout {
        None => {
            let problem =
                format!("Envoy's default of {} s ends every longer response", DEFAULT_TIMEOUT.as_secs());
            findings.push(Finding::mistake(path, problem).write("timeout: 0s"));
        }
        Some(timeout) if is_shorter(timeout, limits.total) => {
            let problem = ends_earlier(timeout, "`stream.total` of a model", limits.total);
            findings.push(Finding::warning(path, problem).write("timeout: 0s"));
        }
        Some(_) => {}
    }
    // The limit of the route replaces that of the manager.
    let (idle, path) = match route.idle_timeout {
        Some(limit) => {
            (Some(limit).filter(|limit| !limit.is_zero()), format!("{}.route.idle_timeout", route.path))
        }
        None => (manager.idle(), format!("{}.stream_idle_timeout", manager.path)),
    };
    if let Some(idle) = idle.filter(|idle| *idle <= limits.silence) {
        let problem = format!(
            "Envoy ends a stream that is idle for {} s; that must be more than the filter's longest limit, {} s",
            idle.as_secs_f64(),
            limits.silence.as_secs_f64()
        );
        let name = path.rsplit('.').next().unwrap_or_default().to_owned();
        let line = format!("{name}: {}s", limits.silence.as_secs().saturating_add(60));
        findings.push(Finding::warning(path, problem).write(line));
    }
    findings
}

fn of_manager(manager: &Manager, limits: &Limits) -> Option<Finding> {
    let duration = manager.max_stream_duration.filter(|duration| is_shorter(*duration, limits.total))?;
    let path = format!("{}.common_http_protocol_options.max_stream_duration", manager.path);
    Some(Finding::warning(path, ends_earlier(duration, "`stream.total` of a model", limits.total)))
}

fn of_retry(retry: &Retry, limits: &Limits) -> Option<Finding> {
    let timeout = retry.per_try_timeout.filter(|timeout| is_shorter(*timeout, limits.total))?;
    let path = format!("{}.per_try_timeout", retry.path);
    Some(Finding::warning(path, ends_earlier(timeout, "`stream.total` of a model", limits.total)))
}

/// Zero is no limit.
fn is_shorter(limit: Duration, than: Duration) -> bool {
    !limit.is_zero() && limit < than
}

fn ends_earlier(limit: Duration, name: &str, allowed: Duration) -> String {
    format!(
        "ends responses after {} s, although {name} allows {} s",
        limit.as_secs_f64(),
        allowed.as_secs_f64()
    )
}
