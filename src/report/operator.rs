//! `/llm-failsafe/…`: the status report, the operators' page and operators' orders. The filter serves them
//! itself, at the clients' address, and only if the configuration has an operator's key. A separate
//! listener would need its own filter and VM to reach the shared records, and every installation would have
//! to open another port.
//!
//! **Authentication.** A request needs an operator's key as `authorization: Bearer`. A client's key is not
//! accepted here, and an operator's key is not accepted for models. The page holds no data and asks for the
//! key, so it needs none.
//!
//! **Cross-site requests.** A browser adds that header to no request by itself, and cookies do not count.
//! In addition, a request that the browser marks as cross-site, or that a plain form could have sent, is
//! refused.
//!
//! **Rate limit.** Each worker serves a bounded number of reports and orders. The limit is each worker's
//! own: it protects the worker's time, and a shared count would cost a compare-and-swap per report. Wrong
//! keys do not count, because otherwise any client could lock operators out. Keys are long and random, and
//! a guess costs one hash.

use sha2::{Digest, Sha256};

use crate::base::{Dialect, HeaderBlock, Store, Timestamp};
use crate::breaker::{Change, Command};
use crate::generation::{Generation, missed_by_any};
use crate::provider::LocalError;
use crate::record::orders::{self, ScopeKind};
use crate::record::status::{self, Sources};
use crate::record::{self, Family, Metric, PAGE, Tally, place};
use crate::refusal::LocalAnswer;
use crate::retry;
use crate::tenancy::{self, NoKey, RateLimit, RateLimiter};

/// The prefix of the operators' paths.
const ROOT: &str = "/llm-failsafe";
/// Reports per worker. A page that refreshes takes one every two seconds.
const REPORTS: RateLimit = RateLimit { burst: 40, per_second: 10 };
/// Orders per worker.
const ORDERS: RateLimit = RateLimit { burst: 20, per_second: 2 };

/// How often this worker may still serve operators.
#[derive(Debug)]
pub struct OperatorRateLimit {
    reports: RateLimiter,
    orders: RateLimiter,
}

impl Default for OperatorRateLimit {
    fn default() -> Self {
        Self { reports: RateLimiter::new(REPORTS), orders: RateLimiter::new(ORDERS) }
    }
}

/// What serving an operator needs of the worker.
pub struct OperatorContext<'a> {
    /// The current configuration and what is known of it.
    pub generation: &'a Generation,
    /// The data that workers share.
    pub store: &'a mut dyn Store,
    /// Counters.
    pub tally: &'a mut Tally,
    /// How often operators may still be served.
    pub limit: &'a mut OperatorRateLimit,
    /// Envoy's version, if it is known.
    pub envoy: Option<&'a str>,
}

/// What a path under [`ROOT`] asks for.
#[derive(Debug, PartialEq, Eq)]
enum OperatorRequest<'p> {
    /// The prefix without its slash. It redirects, because the page's relative requests would fail there.
    Root,
    Page,
    Status,
    Order {
        kind: ScopeKind,
        name: &'p str,
        command: Command,
    },
    Nothing,
}

impl<'p> OperatorRequest<'p> {
    fn of(rest: &'p str) -> Self {
        match rest {
            "" => return Self::Root,
            "/" => return Self::Page,
            "/status" => return Self::Status,
            _ => {}
        }
        let mut parts = rest.splitn(4, '/').skip(1);
        let (Some(list), Some(name), Some(order)) = (parts.next(), parts.next(), parts.next()) else {
            return Self::Nothing;
        };
        let kind = match list {
            "targets" => ScopeKind::Target,
            "accounts" => ScopeKind::Account,
            "endpoints" => ScopeKind::Endpoint,
            _ => return Self::Nothing,
        };
        Command::from_name(order).map_or(Self::Nothing, |command| Self::Order { kind, name, command })
    }
}

/// Why an operator's request is declined.
enum Decline {
    UnknownPath,
    NoSuchScope { kind: ScopeKind },
    Key(NoKey),
    Method { allowed: &'static str },
    CrossSite,
    Form,
    TooOften { wait_s: u64 },
    NotShared,
}

/// The response to a request on an operators' path. `None` for other paths, and when no operators are
/// configured.
pub fn answer(
    context: &mut OperatorContext<'_>,
    method: &str,
    path: &str,
    headers: &HeaderBlock,
    now: Timestamp,
) -> Option<LocalAnswer> {
    if context.generation.config.operators.is_empty() {
        return None;
    }
    let rest = path.strip_prefix(ROOT).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(serve(context, method, &OperatorRequest::of(rest), headers, now).unwrap_or_else(|decline| {
        context.tally.count(Metric::OperatorDeclined);
        decline.answer()
    }))
}

fn serve(
    context: &mut OperatorContext<'_>,
    method: &str,
    request: &OperatorRequest<'_>,
    headers: &HeaderBlock,
    now: Timestamp,
) -> Result<LocalAnswer, Decline> {
    match request {
        OperatorRequest::Root => {
            only("GET", method)?;
            let headers = vec![("location", format!("{ROOT}/"))];
            return Ok(LocalAnswer { status: 308, headers, body: String::new() });
        }
        OperatorRequest::Page => {
            only("GET", method)?;
            return Ok(page());
        }
        OperatorRequest::Status | OperatorRequest::Order { .. } | OperatorRequest::Nothing => {}
    }
    let config = std::rc::Rc::clone(&context.generation.config);
    let operator = tenancy::operator(&config.operators, headers, context.generation.wall_time(now))
        .map_err(Decline::Key)?;
    match request {
        OperatorRequest::Status => {
            only("GET", method)?;
            context.limit.reports.take(now).map_err(|wait_s| Decline::TooOften { wait_s })?;
            Ok(report(context, now))
        }
        OperatorRequest::Order { kind, name, command } => {
            only("POST", method)?;
            same_site(headers)?;
            context.limit.orders.take(now).map_err(|wait_s| Decline::TooOften { wait_s })?;
            carry_out(context, &operator.name, *kind, name, *command, now)
        }
        OperatorRequest::Root | OperatorRequest::Page | OperatorRequest::Nothing => Err(Decline::UnknownPath),
    }
}

fn only(allowed: &'static str, method: &str) -> Result<(), Decline> {
    // Envoy sends a client that asks for the head only no body.
    let is_head = allowed == "GET" && method == "HEAD";
    if method == allowed || is_head { Ok(()) } else { Err(Decline::Method { allowed }) }
}

/// Refuses what a browser sends for another site's page, and what any page can send without a preflight
/// request.
fn same_site(headers: &HeaderBlock) -> Result<(), Decline> {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(Decline::CrossSite);
    }
    let of_a_form = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
    let content_type = headers.get("content-type").map(str::to_ascii_lowercase);
    if content_type.is_some_and(|written| of_a_form.iter().any(|form| written.trim_start().starts_with(form)))
    {
        return Err(Decline::Form);
    }
    Ok(())
}

/// The status report, from the shared records as they are now.
fn report(context: &mut OperatorContext<'_>, now: Timestamp) -> LocalAnswer {
    let OperatorContext { generation, store, envoy, .. } = context;
    let config = &*generation.config;
    generation.health_view.borrow_mut().refresh(*store);
    let orders = orders::recent(*store);
    let budgets = status::budgets(config, *store, generation.moment(now));
    let retries = retry::budget_use(*store, &config.retry_budget, now);
    let missing = missed_by_any(config, *store, now);
    let (health_view, pending, headroom) =
        (generation.health_view.borrow(), generation.pending.borrow(), generation.headroom.borrow());
    let wall = generation.wall_clock();
    let sources =
        Sources { config, health_view: &health_view, pending: &pending, headroom: &headroom, now, wall };
    json(&sources.status(*envoy, retries, budgets, orders, &missing))
}

fn carry_out(
    context: &mut OperatorContext<'_>,
    by: &str,
    kind: ScopeKind,
    name: &str,
    command: Command,
    now: Timestamp,
) -> Result<LocalAnswer, Decline> {
    let OperatorContext { generation, store, tally, .. } = context;
    let config = &*generation.config;
    let scope = status::find(config, kind, name).ok_or(Decline::NoSuchScope { kind })?;
    let Change { shared, .. } = generation.health_view.borrow_mut().command(*store, scope, command, now);
    tally.count(Metric::OperatorOrders);
    let key = config.operators.iter().position(|key| &*key.name == by).unwrap_or(0);
    tally.label(config, Family::OrdersByKey, (key, place(record::ORDERS, command.name())), 1);
    log::warn!("operator {by} ordered {} of {} {name}", command.name(), kind.name());
    if !shared {
        tally.count(Metric::SharedDataFailed);
        return Err(Decline::NotShared);
    }
    orders::remember(*store, by, kind, name, command, generation.wall_time(now));
    let (health_view, pending, headroom) =
        (generation.health_view.borrow(), generation.pending.borrow(), generation.headroom.borrow());
    let wall = generation.wall_clock();
    let sources =
        Sources { config, health_view: &health_view, pending: &pending, headroom: &headroom, now, wall };
    Ok(json(&serde_json::json!({
        "order": command.name(), "by": by, "scope": kind, "now": sources.scope(scope),
    })))
}

fn json(value: &impl serde::Serialize) -> LocalAnswer {
    // Only maps with keys that are not strings could fail, and there are none.
    let body = serde_json::to_string(value).unwrap_or_default();
    LocalAnswer { status: 200, headers: vec![("cache-control", "no-store".to_owned())], body }
}

/// The page. It holds no data, loads nothing from elsewhere, and runs only its own script.
fn page() -> LocalAnswer {
    let policy = format!(
        "default-src 'none'; connect-src 'self'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        digest(between("<script>", "</script>")),
        digest(between("<style>", "</style>")),
    );
    let headers = vec![
        ("content-type", "text/html; charset=utf-8".to_owned()),
        ("content-security-policy", policy),
        ("cache-control", "no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
    ];
    LocalAnswer { status: 200, headers, body: PAGE.to_owned() }
}

fn between(start: &str, end: &str) -> &'static str {
    let inner = PAGE.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    inner.map(|(inner, _)| inner).unwrap_or_default()
}

fn digest(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text))
}

impl Decline {
    fn answer(self) -> LocalAnswer {
        let (status, code, message) = match &self {
            Self::UnknownPath => (404, "unknown_path", "Operators have no such path.".to_owned()),
            Self::NoSuchScope { kind } => {
                (404, "unknown_name", format!("The configuration has no {} of this name.", kind.name()))
            }
            Self::Key(NoKey::Expired(_)) => {
                (401, "expired_operator_key", "The operator's key has expired.".to_owned())
            }
            Self::Key(NoKey::Unknown) => (
                401,
                "invalid_operator_key",
                "Operators send their key as `authorization: Bearer …`; this one is missing or not known.".to_owned(),
            ),
            Self::Method { allowed } => {
                (405, "method_not_allowed", format!("This path takes {allowed} requests only."))
            }
            Self::CrossSite => {
                (403, "cross_site_request", "The browser says that another site's page sent this.".to_owned())
            }
            Self::Form => (
                415,
                "unsupported_content_type",
                "An order has no body, or one of type application/json; a form could be anybody's.".to_owned(),
            ),
            Self::TooOften { wait_s } => {
                (429, "too_many_requests", format!("This worker serves operators again in {wait_s} s."))
            }
            Self::NotShared => (
                503,
                "order_not_shared",
                "The order holds on one worker only, because the shared record could not be changed: give it again."
                    .to_owned(),
            ),
        };
        let mut headers = vec![("x-llm-reason", code.to_owned()), ("cache-control", "no-store".to_owned())];
        match &self {
            Self::Key(_) => {
                headers.push(("www-authenticate", "Bearer realm=\"llm-failsafe operators\"".to_owned()))
            }
            Self::Method { allowed } => headers.push(("allow", (*allowed).to_owned())),
            Self::TooOften { wait_s } => headers.push(("retry-after", wait_s.to_string())),
            _ => {}
        }
        let body = LocalError::new(status, code, message).body(Dialect::OpenAi);
        LocalAnswer { status, headers, body }
    }
}
