//! A target's health is that of three breakers: of the target, its account and its endpoint. An attempt needs
//! all three.

use crate::base::{EndpointFamily, TargetId, Timestamp};
use crate::breaker::{Availability, Breaker, HealthView, Scope, Unavailable};
use crate::config::Config;

/// The breakers that an attempt at `target` goes through. `None` for a target that the configuration does not
/// have.
pub fn breakers(config: &Config, target: TargetId, family: EndpointFamily) -> Option<[Breaker; 3]> {
    let entry = config.target(target)?;
    let scopes = [Scope::Target(target), Scope::Account(entry.account), Scope::Endpoint(entry.provider)];
    Some(scopes.map(|scope| Breaker::new(scope, family)))
}

/// Whether `target` may be asked. The worst of its three breakers decides.
pub fn availability(
    health_view: &HealthView,
    config: &Config,
    (target, family): (TargetId, EndpointFamily),
    now: Timestamp,
) -> Availability {
    let breakers = breakers(config, target, family);
    if is_untroubled(health_view, breakers.iter().flatten()) {
        let availability = Availability::Available { permille: 1000 };
        debug_assert_eq!(worst_of(health_view, config, breakers.into_iter().flatten(), now), availability);
        return availability;
    }
    worst_of(health_view, config, breakers.into_iter().flatten(), now)
}

/// Whether all of these breakers let everything through, without a look at the time.
pub fn is_untroubled<'a>(health_view: &HealthView, mut breakers: impl Iterator<Item = &'a Breaker>) -> bool {
    breakers.all(|breaker| health_view.is_untroubled(*breaker))
}

#[cold]
fn worst_of(
    health_view: &HealthView,
    config: &Config,
    breakers: impl Iterator<Item = Breaker>,
    now: Timestamp,
) -> Availability {
    let mut worst = Availability::Available { permille: 1000 };
    for breaker in breakers {
        worst = match (worst, health_view.availability(breaker, &config.breaker, now)) {
            (Availability::Unavailable(one), Availability::Unavailable(other)) => {
                Availability::Unavailable(later(one, other))
            }
            (Availability::Unavailable(one), _) | (_, Availability::Unavailable(one)) => {
                Availability::Unavailable(one)
            }
            (Availability::Probe, _) | (_, Availability::Probe) => Availability::Probe,
            (Availability::Available { permille: one }, Availability::Available { permille: other }) => {
                Availability::Available { permille: one.min(other) }
            }
        };
    }
    worst
}

/// When the next attempt at `target` may start if no other target can take it. `None` if one may start now.
#[cold]
pub fn next_start(
    health_view: &HealthView,
    config: &Config,
    (target, family): (TargetId, EndpointFamily),
    now: Timestamp,
) -> Option<Timestamp> {
    let breakers = breakers(config, target, family).into_iter().flatten();
    breakers.filter_map(|breaker| health_view.next_start(breaker, &config.breaker, now)).max()
}

/// The reason that lasts longer. One that only an operator can end lasts longest.
fn later(one: Unavailable, other: Unavailable) -> Unavailable {
    match (one.until(), other.until()) {
        (None, _) => one,
        (_, None) => other,
        (Some(first), Some(second)) if second > first => other,
        _ => one,
    }
}

/// The share of a target's recent attempts that failed, in 1/1000.
pub fn failing_permille(
    health_view: &HealthView,
    config: &Config,
    (target, family): (TargetId, EndpointFamily),
    now: Timestamp,
) -> u16 {
    let breaker = Breaker::new(Scope::Target(target), family);
    let counts = health_view.health(breaker).map(|health| health.counts(&config.breaker, now));
    let (good, bad) = counts.unwrap_or_default();
    let permille = u64::from(bad).saturating_mul(1000).checked_div(u64::from(good) + u64::from(bad));
    u16::try_from(permille.unwrap_or(0)).unwrap_or(1000)
}
