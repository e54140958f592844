//! The general rule: which sentences say that the account cannot be used.

use super::vendors::VENDORS;
use crate::base::ErrorClass;
use crate::provider::wording::Wording;

/// What an account is called.
const SUBJECTS: &[&str] = &[
    "account",
    "accounts",
    "organization",
    "organisation",
    "org",
    "workspace",
    "project",
    "tenant",
    "subscription",
    "consumer",
    "customer",
    "team",
    "user",
    "api key",
    "apikey",
    "access key",
    "secret key",
    "api token",
    "access token",
    "your key",
    "this key",
    "your token",
    "your access",
    "virtual key",
    "credential",
    "credentials",
];

/// Before one of these words, a subject is not the caller's account but one in the text.
const OTHERS: &[&str] =
    &["my", "our", "his", "her", "their", "a", "an", "any", "another", "other", "some", "end"];

/// What is wrong with it.
const STATES: &[&str] = &[
    "suspended",
    "disabled",
    "deactivated",
    "blocked",
    "banned",
    "revoked",
    "terminated",
    "locked",
    "frozen",
    "restricted",
    "closed",
    "deleted",
    "cancelled",
    "canceled",
    "expired",
    "inactive",
    "overdue",
    "delinquent",
    "unpaid",
    "leaked",
    "compromised",
    "not active",
    "on hold",
    "past due",
    "in arrears",
    "denied access",
    "reported as leaked",
];

/// States that are about money.
const DEBTS: &[&str] = &["overdue", "delinquent", "unpaid", "past due", "in arrears"];

/// Words that join a subject with its state: `has disabled` says something else than `has been disabled`.
const LINKS: &[&str] = &["is", "was", "been", "are", "were", "being", "got"];

/// Words that may stand between the link and the state.
const ADVERBS: &[&str] = &[
    "currently",
    "temporarily",
    "permanently",
    "now",
    "already",
    "automatically",
    "administratively",
    "either",
];

/// The longest distance of a state from its subject, in words.
const REACH: usize = 8;

/// Money that an account has.
const MONEY: &[&str] = &["balance", "credit", "credits", "funds", "wallet", "prepaid"];

/// Money or an allowance. Under a 429 a used-up quota may be one of this minute.
const QUOTA: &[&str] = &["quota"];

/// That there is none of it.
const LACK: &[&str] = &[
    "insufficient",
    "not enough",
    "not have enough",
    "doesnt have enough",
    "not have any",
    "doesnt have any",
    "too low",
    "exhausted",
    "depleted",
    "used up",
    "used all",
    "run out",
    "ran out",
    "out of",
    "no remaining",
    "negative",
    "overdue",
    "no available",
    "not sufficient",
    "lack of",
];

/// That there is not enough of it now, whatever the reset is.
const FIRM_LACK: &[&str] = &["insufficient", "not enough", "not have enough", "doesnt have enough"];

/// How far money may be from what says that there is none, in words.
const NEAR: usize = 5;

/// Limits on money or on a long time.
const LIMITS: &[&str] = &[
    "spending limit",
    "spend limit",
    "usage limit",
    "usage limits",
    "billing limit",
    "credit limit",
    "hard limit",
    "monthly limit",
    "weekly limit",
    "key limit",
    "spend cap",
    "spending cap",
    "budget",
    "monthly quota",
    "monthly spend",
    "included credits",
    "monthly credits",
    "free allocation",
    "free tier",
    "free quota",
    "free trial",
    "trial quota",
    "allowance",
];

/// That a limit is reached.
const REACHED: &[&str] = &[
    "reached",
    "exceeded",
    "hit",
    "exhausted",
    "depleted",
    "used up",
    "over",
    "crossed",
    "consumed",
    "expired",
];

/// Requests to pay.
const PAY: &[&str] = &[
    "payment required",
    "please recharge",
    "recharge your account",
    "please top up",
    "top up your",
    "add more credits",
    "add credits",
    "buy credits",
    "buy more credits",
    "purchase credits",
    "purchase more credits",
    "add funds",
    "no payment method",
    "without a payment method",
    "enter a payment method",
    "valid payment method",
    "missing payment method",
    "invalid payment instrument",
    "valid payment instrument",
    "credit card on file",
    "valid credit card",
    "billing is disabled",
    "billing disabled",
    "billing is not enabled",
    "billing not enabled",
    "billing is not active",
    "billing not active",
    "billing to be enabled",
    "billing account is not",
    "failure to pay",
    "failed to pay",
    "failed payment",
    "payment failed",
    "payment overdue",
    "payment is overdue",
    "overdue payment",
    "outstanding payment",
    "outstanding balance",
    "unpaid invoice",
    "unpaid invoices",
    "unpaid balance",
    "problem with your billing",
];

/// The same in Chinese, which has no spaces: out of money.
const CHINESE_DEBTS: &[&str] = &[
    "欠费",
    "余额不足",
    "额度不足",
    "额度已用尽",
    "额度已耗尽",
    "额度用尽",
    "额度已用完",
    "余额已用完",
    "配额已用完",
    "请充值",
    "账单已逾期",
];

/// Accounts and keys in Chinese.
const CHINESE_SUBJECTS: &[&str] =
    &["账户", "账号", "帐户", "帐号", "用户", "令牌", "密钥", "组织", "租户", "apikey", "api key", "key"];

/// What is wrong with them.
const CHINESE_STATES: &[&str] = &[
    "封禁",
    "封停",
    "冻结",
    "被锁定",
    "已锁定",
    "被禁用",
    "已禁用",
    "已停用",
    "被停用",
    "已过期",
    "状态不可用",
    "已注销",
    "已失效",
    "被限制",
];

/// Words about the request. A statement after one of them may be the client's.
const REQUEST: &[&str] = &[
    "prompt",
    "prompts",
    "message",
    "messages",
    "content",
    "contents",
    "input",
    "inputs",
    "parameter",
    "parameters",
    "param",
    "value",
    "values",
    "argument",
    "arguments",
    "tool",
    "tools",
    "function",
    "functions",
    "role",
    "field",
    "fields",
    "property",
    "properties",
    "schema",
    "document",
    "image",
    "text",
    "string",
    "json",
    "flagged",
    "moderation",
    "unsafe",
    "harmful",
    "thinking",
    "reasoning",
    "context",
    "if",
    "unless",
    "whether",
];

/// The same in Chinese.
const CHINESE_REQUEST: &[&str] = &["提示词", "消息", "内容", "输入", "参数", "敏感", "如果"];

/// Words about a rate.
const RATE: &[&str] = &[
    " rate limit",
    " ratelimit",
    " per minute",
    " per second",
    " per hour",
    " per min ",
    " rpm",
    " tpm",
    " too many requests",
    " concurren",
    " requests per",
    " tokens per",
    "频繁",
    "并发",
];

/// Words that narrow a sentence to less than the account.
const MODEL: &[&str] = &[" model ", " models ", " deployment ", "模型"];
const PART: &[&str] =
    &[" feature ", " endpoint ", " region ", " country ", " location ", " resource ", " tool "];

/// Whether a message is about a rate, which is no statement about the account.
pub(super) fn is_about_rate(wording: &Wording) -> bool {
    wording.has(RATE)
}

/// What a message says of the account in its first `sentences`.
pub(super) fn message(wording: &Wording, sentences: usize, limits_rate: bool) -> Option<ErrorClass> {
    let read = || {
        wording.sentences().iter().take(sentences).scan(false, |spoiled, sentence| {
            let before = *spoiled;
            *spoiled |= first_of(sentence, REQUEST, CHINESE_REQUEST).is_some();
            // Once the request has been mentioned, the rest may be the client's.
            (!before).then(|| undisputed(sentence))
        })
    };
    let vendors = || VENDORS.iter().flat_map(|vendor| vendor.phrases);
    read()
        .find_map(|part| vendors().find(|(phrase, _)| find(part, phrase).is_some()).map(|(_, class)| *class))
        .or_else(|| read().find_map(|part| money(part, limits_rate)))
        .or_else(|| read().find_map(state))
}

/// What a code says of the account. A code has no other words around, so their order does not matter.
pub(super) fn code(wording: &Wording, limits_rate: bool) -> Option<ErrorClass> {
    if wording.has(RATE) {
        return None;
    }
    let sentence = undisputed(wording.sentences().first()?);
    let subjects = ["key", "token", "license"];
    let has = |words: &[&str]| words.iter().any(|word| find(sentence, word).is_some());
    money(sentence, limits_rate).or_else(|| {
        let is_dead = (has(SUBJECTS) || has(&subjects)) && has(STATES);
        is_dead.then(|| if has(DEBTS) { ErrorClass::QuotaExhausted } else { ErrorClass::Auth })
    })
}

/// The part of a sentence before the first word about the request.
fn undisputed(sentence: &str) -> &str {
    let end = first_of(sentence, REQUEST, CHINESE_REQUEST).unwrap_or(sentence.len());
    sentence.get(..end).unwrap_or_default()
}

fn first_of(sentence: &str, words: &[&str], chinese: &[&str]) -> Option<usize> {
    let words = words.iter().filter_map(|word| find(sentence, word));
    words.chain(chinese.iter().filter_map(|word| sentence.find(word))).min()
}

/// Where a phrase of whole words begins in a sentence. Chinese has no spaces between words.
pub(super) fn find(sentence: &str, phrase: &str) -> Option<usize> {
    if !phrase.is_ascii() {
        return sentence.find(phrase);
    }
    sentence.match_indices(phrase).map(|(at, _)| at).find(|at| {
        let is_space = |byte: Option<&u8>| byte.is_none_or(|byte| *byte == b' ');
        let bytes = sentence.as_bytes();
        is_space(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && is_space(bytes.get(at + phrase.len()))
    })
}

/// The positions of a phrase, in words.
fn places<'s>(words: &'s [&'s str], phrase: &'s str) -> impl Iterator<Item = usize> + 's {
    let length = phrase.split(' ').count();
    words
        .windows(length)
        .enumerate()
        .filter(|(_, at)| at.iter().copied().eq(phrase.split(' ')))
        .map(|(at, _)| at)
}

fn near(words: &[&str], some: &[&str], others: &[&str], most: usize) -> bool {
    some.iter().flat_map(|phrase| places(words, phrase)).any(|one| {
        let is_mine =
            one.checked_sub(1).and_then(|before| words.get(before)).is_none_or(|word| *word != "my");
        is_mine
            && others.iter().flat_map(|phrase| places(words, phrase)).any(|other| one.abs_diff(other) <= most)
    })
}

/// Whether a sentence says that the money or the allowance of the account is gone.
fn money(sentence: &str, limits_rate: bool) -> Option<ErrorClass> {
    let words: Vec<&str> = sentence.split_ascii_whitespace().collect();
    let quota = if limits_rate { FIRM_LACK } else { LACK };
    let is_gone = near(&words, MONEY, LACK, NEAR)
        || near(&words, QUOTA, quota, NEAR)
        || (!limits_rate && near(&words, QUOTA, REACHED, NEAR))
        || near(&words, LIMITS, REACHED, REACH)
        || PAY.iter().any(|phrase| find(sentence, phrase).is_some())
        || CHINESE_DEBTS.iter().any(|phrase| sentence.contains(phrase));
    let is_of_model = MODEL.iter().any(|word| sentence.contains(word));
    is_gone.then_some(if is_of_model { ErrorClass::ModelQuota } else { ErrorClass::QuotaExhausted })
}

/// Whether a sentence says that the account or its credential is in a state in which it cannot be used.
fn state(sentence: &str) -> Option<ErrorClass> {
    if MODEL.iter().chain(PART).any(|word| sentence.contains(word)) {
        return None;
    }
    let has = |words: &[&str]| words.iter().any(|word| sentence.contains(word));
    if has(CHINESE_SUBJECTS) && has(CHINESE_STATES) {
        return Some(ErrorClass::Auth);
    }
    let words: Vec<&str> = sentence.split_ascii_whitespace().collect();
    let subjects = SUBJECTS.iter().flat_map(|subject| places(&words, subject).map(move |at| (at, subject)));
    for (at, subject) in subjects {
        let is_callers =
            at.checked_sub(1).and_then(|before| words.get(before)).is_none_or(|word| !OTHERS.contains(word));
        let after = at + subject.split(' ').count();
        let is_dead =
            |state: &&&str| places(&words, state).any(|place| is_joined(&words, at, after, place, state));
        if let Some(state) = STATES.iter().filter(|_| is_callers).find(is_dead) {
            let is_debt = DEBTS.contains(state);
            return Some(if is_debt { ErrorClass::QuotaExhausted } else { ErrorClass::Auth });
        }
    }
    None
}

/// Whether the words say that the subject, from `at` to before `after`, is in the state at `place`: with a
/// verb, or in the form of a headline (`Account suspended`).
fn is_joined(words: &[&str], at: usize, after: usize, place: usize, state: &str) -> bool {
    if place < after || place - after > REACH {
        return false;
    }
    if place == after {
        return at <= 1;
    }
    let mut links =
        words.get(after..place).unwrap_or_default().iter().rev().skip_while(|word| ADVERBS.contains(word));
    let link = links.next().copied().unwrap_or_default();
    LINKS.contains(&link) || (state == "expired" && link == "has")
}
