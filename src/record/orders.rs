//! Recent orders of operators, shared by all workers.
//!
//! One record of at most [`MAX_ORDERS`] orders, newest last. It shows an operator what colleagues did before.
//! Older orders are in the log.

use serde::Serialize;

use crate::base::{Store, WallTime, update};
use crate::breaker::Command;

/// The most orders that are kept.
pub const MAX_ORDERS: usize = 20;
/// The longest name in a configuration.
const MAX_NAME: usize = 64;
const KEY: &str = "llm-failsafe/orders";
const VERSION: u8 = 1;

/// An order of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecentOrder {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Name of the key that was used.
    pub by: String,
    /// The kind of scope that it concerns.
    pub scope: ScopeKind,
    /// The name of the scope.
    pub name: String,
    /// The order.
    pub order: &'static str,
}

/// The kinds of scope that have a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeKind {
    /// One model through one account.
    Target,
    /// One credential.
    Account,
    /// One API host.
    Endpoint,
}

impl ScopeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Target, Self::Account, Self::Endpoint];

    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Account => "account",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Adds an order. A failure to share is not reported here, because the order's own change reports it.
pub fn remember(
    store: &mut dyn Store,
    by: &str,
    scope: ScopeKind,
    name: &str,
    command: Command,
    now: WallTime,
) {
    let given = RecentOrder {
        at_ms: now.as_millis(),
        by: by.to_owned(),
        scope,
        name: name.to_owned(),
        order: command.name(),
    };
    let _ = update(store, KEY, |bytes| {
        let mut orders = bytes.and_then(decode).unwrap_or_default();
        if orders.len() >= MAX_ORDERS {
            orders.drain(..=orders.len() - MAX_ORDERS);
        }
        orders.push(given.clone());
        ((), Some(encode(&orders)))
    });
}

/// The kept orders, oldest first.
pub fn recent(store: &mut dyn Store) -> Vec<RecentOrder> {
    let stored = store.read(KEY).ok().flatten();
    stored.and_then(|stored| decode(&stored.bytes)).unwrap_or_default()
}

/// Version, then for each order: time (8 bytes, little endian), scope, command, and the two names, each with
/// its length.
fn encode(orders: &[RecentOrder]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for order in orders {
        let command = Command::ALL.iter().position(|command| command.name() == order.order).unwrap_or(0);
        bytes.extend(order.at_ms.to_le_bytes());
        bytes.push(order.scope as u8);
        bytes.push(u8::try_from(command).unwrap_or(0));
        for name in [&order.by, &order.name] {
            let name = name.as_bytes().get(..MAX_NAME).unwrap_or(name.as_bytes());
            bytes.push(u8::try_from(name.len()).unwrap_or(0));
            bytes.extend(name);
        }
    }
    bytes
}

/// `None` if it is not such a record.
fn decode(bytes: &[u8]) -> Option<Vec<RecentOrder>> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut orders = Vec::new();
    while !rest.is_empty() && orders.len() < MAX_ORDERS {
        let (at, after) = rest.split_first_chunk::<8>()?;
        let ([scope, command], after) = after.split_first_chunk::<2>()?;
        let (by, after) = name(after)?;
        let (name, after) = name(after)?;
        orders.push(RecentOrder {
            at_ms: u64::from_le_bytes(*at),
            by,
            scope: *ScopeKind::ALL.get(usize::from(*scope))?,
            name,
            order: Command::ALL.get(usize::from(*command))?.name(),
        });
        rest = after;
    }
    Some(orders)
}

fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8(name.to_vec()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Memory;
    use proptest::prelude::*;

    fn at(ms: u64) -> WallTime {
        WallTime::from_millis(ms)
    }

    #[test]
    fn the_newest_orders_are_kept() {
        let mut store = Memory::new();
        for number in 0..50 {
            remember(
                &mut store,
                "anna",
                ScopeKind::Account,
                &format!("a-{number}"),
                Command::Drain,
                at(number),
            );
        }
        let orders = recent(&mut store);
        assert_eq!(orders.len(), MAX_ORDERS);
        assert_eq!(orders[0].name, "a-30");
        let last = RecentOrder {
            at_ms: 49,
            by: "anna".to_owned(),
            scope: ScopeKind::Account,
            name: "a-49".to_owned(),
            order: "drain",
        };
        assert_eq!(orders[MAX_ORDERS - 1], last);
    }

    #[test]
    fn simultaneous_orders_of_two_workers_are_both_kept() {
        let shelf = std::rc::Rc::default();
        let mut rivals = Memory::on(std::rc::Rc::clone(&shelf));
        let mut store = Memory::on(shelf);
        let mut once = Some(());
        store.before_write = Some(Box::new(move || {
            if once.take().is_some() {
                remember(&mut rivals, "bert", ScopeKind::Target, "t", Command::Probe, at(1));
            }
        }));
        remember(&mut store, "anna", ScopeKind::Target, "t", Command::Reset, at(2));
        let by: Vec<_> = recent(&mut store).into_iter().map(|order| order.by).collect();
        assert_eq!(by, ["bert", "anna"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![VERSION];
            versioned.extend(&bytes);
            prop_assert!(decode(&versioned).is_none_or(|orders| orders.len() <= MAX_ORDERS));
            prop_assert!(decode(&bytes).is_none_or(|orders| orders.len() <= MAX_ORDERS));
        }
    }
}
