//! The model that a client's name means: names and aliases first, then the pattern with the longest beginning,
//! then the default.
//!
//! What a pattern leaves open is a client's text. It becomes part of a body, of a path and of a header, so only
//! characters that mean nothing there may be in it. It never becomes a metric's label or the key of a shared
//! record: those have the pattern or the target.

use std::rc::Rc;

use super::compiled::{Model, Target};
use crate::base::ModelId;

/// What stands for the rest of a client's name.
pub const WILDCARD: char = '*';

/// The longest name of a model, in bytes; also of one that a client sends for a pattern.
pub const MAX_MODEL_NAME: usize = 128;

/// Whether this is a name for a model: in a configuration, or the part of a client's name that a pattern leaves
/// open.
pub fn is_model_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte);
    name.len() <= MAX_MODEL_NAME
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(allowed)
}

/// The beginning that a pattern demands; `None` if `name` is no pattern.
pub fn pattern(name: &str) -> Option<&str> {
    name.strip_suffix(WILDCARD)
}

/// The names by which clients find models.
#[derive(Debug, Default)]
pub struct ModelNames {
    /// Names and aliases, sorted: a search among a few names is cheaper than a keyed hash.
    exact: Vec<(Rc<str>, ModelId)>,
    /// The beginnings of patterns, the longest first.
    patterns: Vec<(Rc<str>, ModelId)>,
    default: Option<ModelId>,
    /// Whether a name can be another one than the model's own.
    has_other_names: bool,
}

/// How a client's name has led to a model, if the name is not the model's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedName {
    /// The name.
    pub text: Rc<str>,
    /// By what it was found.
    pub found: FoundBy,
}

/// By what a model was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// It is an alias.
    Alias,
    /// A pattern, whose beginning has this length.
    Pattern(usize),
    /// No model has this name, and there is a default.
    Default,
}

impl AskedName {
    /// What the provider of `target` calls the model.
    pub fn model_at(&self, target: &Target) -> Rc<str> {
        let FoundBy::Pattern(length) = self.found else { return Rc::clone(&target.model) };
        let (Some(rest), true) = (self.text.get(length..), target.takes_rest) else {
            return Rc::clone(&target.model);
        };
        target.model.replacen(WILDCARD, rest, 1).into()
    }
}

impl ModelNames {
    /// The names of these models.
    pub(super) fn of(models: &[Model]) -> Self {
        let ids =
            || models.iter().enumerate().filter_map(|(at, model)| Some((model, ModelId::from_index(at)?)));
        let mut exact: Vec<(Rc<str>, ModelId)> = Vec::new();
        let mut patterns: Vec<(Rc<str>, ModelId)> = Vec::new();
        for (model, id) in ids() {
            match pattern(&model.name) {
                Some(beginning) => patterns.push((beginning.into(), id)),
                None => exact.push((Rc::clone(&model.name), id)),
            }
            exact.extend(model.aliases.iter().map(|alias| (Rc::clone(alias), id)));
        }
        exact.sort();
        patterns.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        let default = ids().find(|(model, _)| model.is_default).map(|(_, id)| id);
        let has_aliases = models.iter().any(|model| !model.aliases.is_empty());
        let has_other_names = has_aliases || default.is_some() || !patterns.is_empty();
        Self { exact, patterns, default, has_other_names }
    }

    /// The model with this name or alias.
    pub fn exact(&self, name: &str) -> Option<ModelId> {
        let place = self.exact.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.exact.get(place).map(|(_, model)| *model)
    }

    /// All names and aliases, sorted.
    pub fn listed(&self) -> impl Iterator<Item = (&str, ModelId)> {
        self.exact.iter().map(|(name, model)| (&**name, *model))
    }

    /// The model that `name` means. The name is returned if it is not the model's own.
    pub fn find(&self, name: &str, models: &[Model]) -> Option<(ModelId, Option<AskedName>)> {
        let exact = self.exact(name);
        if !self.has_other_names {
            return exact.map(|model| (model, None));
        }
        self.find_by_any(name, exact, models)
    }

    #[inline(never)]
    fn find_by_any(
        &self,
        name: &str,
        exact: Option<ModelId>,
        models: &[Model],
    ) -> Option<(ModelId, Option<AskedName>)> {
        if let Some(id) = exact
            && models.get(id.index()).is_some_and(|model| *model.name == *name)
        {
            return Some((id, None));
        }
        let by_pattern = || {
            let fits = |beginning: &str| name.strip_prefix(beginning).is_some_and(is_model_name);
            let (beginning, id) = self.patterns.iter().find(|(beginning, _)| fits(beginning))?;
            (name.len() <= MAX_MODEL_NAME).then_some((*id, FoundBy::Pattern(beginning.len())))
        };
        let (id, found) = exact
            .map(|id| (id, FoundBy::Alias))
            .or_else(by_pattern)
            .or_else(|| Some((self.default?, FoundBy::Default)))?;
        Some((id, Some(AskedName { text: name.into(), found })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, load};
    use proptest::prelude::*;
    use serde_json::json;

    fn config(default: bool) -> Config {
        let text = json!({
            "providers": {"p": {"kind": "openai"}},
            "targets": {
                "fixed": {"provider": "p", "model": "m"},
                "any": {"provider": "p", "model": "*"},
                "prefixed": {"provider": "p", "model": "vendor/*:free"},
            },
            "models": {
                "chat": {"targets": ["fixed"], "aliases": ["gpt-4o", "open/alias"], "default": default},
                "open/*": {"targets": ["any", "prefixed", "fixed"]},
                "open/gpt-*": {"targets": ["any"]},
                "open/exact": {"targets": ["fixed"]},
            },
        });
        load(text.to_string().as_bytes(), &|_| None).unwrap()
    }

    /// The model's own name, what it was found by, and the names at its targets.
    fn found(config: &Config, name: &str) -> Option<(String, Option<FoundBy>, Vec<String>)> {
        let (id, asked) = config.find_model(name)?;
        let model = config.model(id).unwrap();
        let targets = model.tiers[0].iter().map(|target| config.target(*target).unwrap());
        let at = targets.map(|target| {
            let name =
                asked.as_ref().map_or_else(|| Rc::clone(&target.model), |asked| asked.model_at(target));
            name.to_string()
        });
        Some((model.name.to_string(), asked.as_ref().map(|asked| asked.found), at.collect()))
    }

    #[test]
    fn names_come_before_patterns_and_patterns_before_the_default() {
        use FoundBy::{Alias, Default, Pattern};
        let config = config(true);
        for (name, model, by, at) in [
            ("chat", "chat", None, &["m"][..]),
            ("gpt-4o", "chat", Some(Alias), &["m"]),
            ("open/alias", "chat", Some(Alias), &["m"]),
            ("open/exact", "open/exact", None, &["m"]),
            ("open/llama", "open/*", Some(Pattern(5)), &["llama", "vendor/llama:free", "m"]),
            ("open/meta/llama", "open/*", Some(Pattern(5)), &["meta/llama", "vendor/meta/llama:free", "m"]),
            ("open/gpt-5", "open/gpt-*", Some(Pattern(9)), &["5"]),
            // Nothing is left for the star.
            ("open/", "chat", Some(Default), &["m"]),
            ("open/gpt-", "open/*", Some(Pattern(5)), &["gpt-", "vendor/gpt-:free", "m"]),
            // The pattern itself is no name.
            ("open/*", "chat", Some(Default), &["m"]),
            ("open/../x", "chat", Some(Default), &["m"]),
            ("open/a b", "chat", Some(Default), &["m"]),
            ("open/ü", "chat", Some(Default), &["m"]),
            ("other", "chat", Some(Default), &["m"]),
            ("", "chat", Some(Default), &["m"]),
        ] {
            let expected = (model.to_owned(), by, at.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(found(&config, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn without_a_default_an_unknown_name_is_unknown() {
        let config = config(false);
        for name in ["other", "open/", "open/*", "open/../x", "", "Chat"] {
            assert_eq!(found(&config, name), None, "{name}");
        }
    }

    #[test]
    fn a_name_at_the_limit_fits_a_pattern_and_a_longer_one_does_not() {
        let config = config(false);
        let name = |length: usize| format!("open/{}", "x".repeat(length - 5));
        assert!(found(&config, &name(MAX_MODEL_NAME)).is_some());
        assert!(found(&config, &name(MAX_MODEL_NAME + 1)).is_none());
    }

    proptest! {
        #[test]
        fn what_a_pattern_lets_through_is_plain(rest in "\\PC{0,12}|[a-z./*%\"\\\\:@-]{0,12}") {
            let config = config(false);
            if let Some((_, Some(asked))) = config.find_model(&format!("open/{rest}"))
                && matches!(asked.found, FoundBy::Pattern(_))
            {
                for target in config.targets() {
                    let name = asked.model_at(target);
                    prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte)));
                    prop_assert!(!name.starts_with(['.', '/']));
                }
            }
        }
    }
}
