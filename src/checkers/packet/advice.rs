//! Advice in words: the line that an agent answers with (HAProxy's `agent-check`), and the content of a watched file.
//!
//! Words are parted by blanks, tabs and commas and may be in any case; what follows a `#` is a description.
//!
//! | word | means |
//! |---|---|
//! | `75%` | so many hundredths of the configured weight |
//! | `weight:N`, `weight:N%` | a weight, or hundredths of it |
//! | `maxconn:N` | the most connections |
//! | `ready`, `drain`, `maint` | how an administrator would want it |
//! | `up`, `down`, `fail`, `failed`, `stopped` | whether it is well |
//!
//! Of several words of one kind the last one counts.

use crate::model::{Advice, StateAdvice, WeightAdvice};

/// The highest weight and number of connections: the kernel reads both as signed 32-bit numbers.
const MOST: u32 = 2_147_483_647;
/// The most hundredths of a weight.
const MOST_PERCENT: u32 = 10_000;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advised {
    /// Whether it is well; `None` where no word says so.
    pub up: Option<bool>,
    /// The description behind `#`.
    pub reason: Option<String>,
    /// All else.
    pub advice: Advice,
}

/// Whether a number alone is a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNumber {
    /// It is, as in a watched file.
    IsWeight,
    /// It means nothing, as from an agent.
    IsNothing,
}

/// Reads one line, without its end; the error is the word that means nothing.
pub fn parse(line: &str, bare: BareNumber) -> Result<Advised, String> {
    let mut advised = Advised::default();
    let (words, reason) = match line.split_once('#') {
        Some((words, reason)) => (words, Some(reason.trim())),
        None => (line, None),
    };
    advised.reason = reason.filter(|reason| !reason.is_empty()).map(str::to_owned);
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        take(word, bare, &mut advised).ok_or_else(|| word.to_owned())?;
    }
    Ok(advised)
}

fn take(word: &str, bare: BareNumber, advised: &mut Advised) -> Option<()> {
    let lower = word.to_ascii_lowercase();
    let advice = &mut advised.advice;
    match lower.as_str() {
        "up" => advised.up = Some(true),
        "down" | "fail" | "failed" | "stopped" => advised.up = Some(false),
        "ready" => advice.state = Some(StateAdvice::Ready),
        "drain" => advice.state = Some(StateAdvice::Drain),
        "maint" => advice.state = Some(StateAdvice::Maint),
        other => match (other.split_once(':'), other.strip_suffix('%')) {
            (Some(("maxconn", value)), _) => advice.max_connections = Some(number(value, MOST)?),
            (Some(("weight", value)), _) => advice.weight = Some(weight(value)?),
            (None, Some(_)) => advice.weight = Some(weight(other)?),
            (None, None) if bare == BareNumber::IsWeight => advice.weight = Some(weight(other)?),
            _ => return None,
        },
    }
    Some(())
}

fn weight(text: &str) -> Option<WeightAdvice> {
    match text.strip_suffix('%') {
        Some(percent) => number(percent, MOST_PERCENT).map(WeightAdvice::Percent),
        None => number(text, MOST).map(WeightAdvice::Absolute),
    }
}

fn number(text: &str, most: u32) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number| *number <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(line: &str) -> Result<Advised, String> {
        parse(line, BareNumber::IsNothing)
    }

    fn advice(line: &str) -> Advice {
        agent(line).expect("good").advice
    }

    #[test]
    fn every_word_of_an_agent_is_read() {
        assert_eq!(advice("75%").weight, Some(WeightAdvice::Percent(75)));
        assert_eq!(advice("weight:20").weight, Some(WeightAdvice::Absolute(20)));
        assert_eq!(advice("Weight:20%").weight, Some(WeightAdvice::Percent(20)));
        assert_eq!(advice("maxconn:500").max_connections, Some(500));
        for (word, state) in [
            ("ready", StateAdvice::Ready),
            ("DRAIN", StateAdvice::Drain),
            ("maint", StateAdvice::Maint),
        ] {
            assert_eq!(advice(word).state, Some(state));
        }
        assert_eq!(agent("up").expect("good").up, Some(true));
        for word in ["down", "fail", "failed", "stopped"] {
            assert_eq!(agent(word).expect("good").up, Some(false));
        }
        let all = agent("up, ready\t50%,maxconn:10 # all is, well").expect("good");
        assert_eq!((all.up, all.reason.as_deref()), (Some(true), Some("all is, well")));
        assert_eq!(
            agent("down#disk full").expect("good").reason.as_deref(),
            Some("disk full")
        );
        assert_eq!(agent(""), Ok(Advised::default()));
    }

    #[test]
    fn nonsense_is_named() {
        for word in [
            "upp",
            "75",
            "-1%",
            "%",
            "weight:",
            "maxconn:x",
            "maxconn:99999999999",
            "10001%",
            "up:1",
            "½%",
        ] {
            assert_eq!(agent(word), Err(word.to_owned()));
        }
    }

    #[test]
    fn a_number_alone_is_a_weight_in_a_file() {
        let file = |text| parse(text, BareNumber::IsWeight);
        assert_eq!(file("7").expect("good").advice.weight, Some(WeightAdvice::Absolute(7)));
        assert!(file("7x").is_err() && file("+7").is_err());
    }

    proptest! {
        #[test]
        fn any_line_means_something_or_is_nonsense(line: String, parts in "[ ,\ta-z0-9:%#]{0,60}") {
            for text in [&line, &parts] {
                if let Err(word) = agent(text) {
                    prop_assert!(text.contains(&word));
                }
            }
        }
    }
}
