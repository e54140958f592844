//! How many attempts may be in flight at a time: a number, or bounds within which the filter finds one.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde_json::Value;

use super::numeric::whole;

/// The limit on attempts in flight at one target or account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxPending {
    /// This many.
    Fixed(u32),
    /// As many as the target serves well, within these bounds.
    Adaptive(PendingBounds),
}

/// The bounds of an adaptive limit: `min <= max`, and both are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingBounds {
    /// The limit is never below this.
    pub min: u32,
    /// The limit is never above this.
    pub max: u32,
}

impl MaxPending {
    /// The bounds of an adaptive limit. `None` if it is fixed.
    pub const fn bounds(self) -> Option<PendingBounds> {
        match self {
            Self::Fixed(_) => None,
            Self::Adaptive(bounds) => Some(bounds),
        }
    }
}

/// What was written: a number, or a mapping.
pub(super) enum RawMaxPending {
    Number(u64),
    Adaptive(RawAdaptive),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdaptive {
    pub adaptive: Option<bool>,
    #[serde(default, deserialize_with = "whole")]
    pub min: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub max: Option<u64>,
}

impl<'de> Deserialize<'de> for RawMaxPending {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrFields;
        impl NumberOrFields {
            fn number<E: Error>(&self, value: &Value, found: Unexpected<'_>) -> Result<RawMaxPending, E> {
                let number = whole(value).ok().flatten();
                number.map(RawMaxPending::Number).ok_or_else(|| E::invalid_type(found, self))
            }
        }
        impl<'de> Visitor<'de> for NumberOrFields {
            type Value = RawMaxPending;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a mapping such as `{ adaptive: true, max: 64 }`")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<RawMaxPending, E> {
                Ok(RawMaxPending::Number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RawMaxPending, E> {
                self.number(&number.into(), Unexpected::Signed(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<RawMaxPending, E> {
                self.number(&number.into(), Unexpected::Float(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawMaxPending, E> {
                self.number(&text.into(), Unexpected::Str(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<RawMaxPending, A::Error> {
                RawAdaptive::deserialize(MapAccessDeserializer::new(fields)).map(RawMaxPending::Adaptive)
            }
        }
        deserializer.deserialize_any(NumberOrFields)
    }
}
