//! A target's health is that of three scopes: the target, its account and its endpoint. An attempt needs all three.

use crate::base::{TargetId, Timestamp};
use crate::breaker::{HealthView, Scope, Standing, Unfit};
use crate::config::Config;

/// The scopes that an attempt at `target` goes through. `None` for a target that the configuration does not have.
pub fn scopes(config: &Config, target: TargetId) -> Option<[Scope; 3]> {
    let entry = config.target(target)?;
    Some([Scope::Target(target), Scope::Account(entry.account), Scope::Endpoint(entry.provider)])
}

/// Whether `target` may be asked: the worst of its three scopes counts.
pub fn standing(health_view: &HealthView, config: &Config, target: TargetId, now: Timestamp) -> Standing {
    let mut worst = Standing::Fit { permille: 1000 };
    for scope in scopes(config, target).into_iter().flatten() {
        worst = match (worst, health_view.standing(scope, &config.breaker, now)) {
            (Standing::Unfit(one), Standing::Unfit(other)) => Standing::Unfit(later(one, other)),
            (Standing::Unfit(one), _) | (_, Standing::Unfit(one)) => Standing::Unfit(one),
            (Standing::Probe, _) | (_, Standing::Probe) => Standing::Probe,
            (Standing::Fit { permille: one }, Standing::Fit { permille: other }) => {
                Standing::Fit { permille: one.min(other) }
            }
        };
    }
    worst
}

/// The reason that lasts longer. One that only an operator can end lasts longest.
fn later(one: Unfit, other: Unfit) -> Unfit {
    match (one.until(), other.until()) {
        (None, _) => one,
        (_, None) => other,
        (Some(first), Some(second)) if second > first => other,
        _ => one,
    }
}

/// How many of a target's recent attempts failed, of 1000.
pub fn failing_permille(health_view: &HealthView, config: &Config, target: TargetId, now: Timestamp) -> u16 {
    let counts = health_view.health(Scope::Target(target)).map(|health| health.counts(&config.breaker, now));
    let (good, bad) = counts.unwrap_or_default();
    let permille = u64::from(bad).saturating_mul(1000).checked_div(u64::from(good) + u64::from(bad));
    u16::try_from(permille.unwrap_or(0)).unwrap_or(1000)
}
