//! Command lines at random, from the table in `options.rs`, most of them such as somebody could mean.
//!
//! The seeds are fixed: a disagreement comes again.

use crate::options::{BEFORE, COMMANDS, Command, OPTIONS, Opt, Wanted};
use crate::pair::Pair;
use crate::subject::Program;

/// How many command lines each of the four tests runs.
const LINES: usize = 500;
/// After so many lines the table is put back: by then half of it is gone.
const PUT_BACK_AFTER: usize = 20;

/// SplitMix64: small, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("less than `end`")
    }

    /// True so many times out of a hundred.
    fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.below(place + 1));
        }
    }

    fn command(&mut self) -> &'static Command {
        let total: usize = COMMANDS.iter().map(|command| command.weight).sum();
        let mut drawn = self.below(total);
        COMMANDS
            .iter()
            .find(|command| {
                let hit = drawn < command.weight;
                drawn = drawn.saturating_sub(command.weight);
                hit
            })
            .expect("a command")
    }

    /// An option with a value, seldom one that means nothing.
    fn option(&mut self, option: &Opt, command: &Command) -> Vec<String> {
        let way = self.below(4);
        if !option.takes_value() {
            return option.written(None, way);
        }
        let optional = !matches!(option.value, crate::options::Value::Wanted { .. }) && option.names().is_none();
        if optional && self.percent(40) {
            return option.written(None, way);
        }
        let values = if self.percent(95) {
            option.valid(command)
        } else {
            option.invalid()
        };
        let value = *self.pick(values);
        option.written(Some(value), way)
    }

    fn naming(&mut self, wanted: Wanted, command: &Command) -> Vec<Vec<String>> {
        let all: Vec<&Opt> = OPTIONS.iter().filter(|option| option.names() == Some(wanted)).collect();
        let option = *self.pick(&all);
        let mut written = self.option(option, command);
        if option.long == "--fwmark-service" && self.percent(40) {
            written.push("-6".to_owned());
        }
        vec![written]
    }

    fn line(&mut self) -> Vec<String> {
        let command = self.command();
        let mut groups: Vec<Vec<String>> = Vec::new();
        for wanted in command.wants {
            if self.percent(98) {
                groups.extend(self.naming(*wanted, command));
            }
        }
        let takes: Vec<&Opt> = OPTIONS
            .iter()
            .filter(|option| option.goes.contains(command.key))
            .filter(|option| option.names().is_none_or(|named| !command.wants.contains(&named)))
            .collect();
        let wished = if takes.is_empty() { 0 } else { self.below(4) };
        for _ in 0..wished {
            let option = *self.pick(&takes);
            // What was asked for already.
            if groups.iter().flatten().any(|word| option.is_written_as(word)) && self.percent(90) {
                continue;
            }
            let mut group = Vec::new();
            // A service that is wanted beside it would be the second.
            if self.percent(80) && !option.along.iter().any(|word| *word == "-u" || *word == "-f") {
                let there = |word: &&str| groups.iter().flatten().any(|other| other == word);
                if !option.along.first().is_some_and(there) {
                    group.extend(option.along.iter().map(|word| (*word).to_owned()));
                }
            }
            group.extend(self.option(option, command));
            groups.push(group);
        }
        if self.percent(4) {
            let option = self.pick(OPTIONS);
            groups.push(self.option(option, command));
        }
        if self.percent(1) {
            groups.push(vec!["extra".to_owned()]);
        }
        if self.percent(20) {
            self.shuffle(&mut groups);
        }
        let mut line = vec![(*self.pick(command.names)).to_owned()];
        line.extend(command.words.iter().map(|word| (*word).to_owned()));
        line.extend(groups.into_iter().flatten());
        line
    }
}

fn check(seed: u64) {
    let pair = Pair::new("random", BEFORE);
    let mut random = Random(seed);
    let (mut accepted, mut differing) = (0, Vec::new());
    for number in 1..=LINES {
        let line = random.line();
        let verdict = pair.run(Program::Ipvsadm, &line, "");
        accepted += usize::from(verdict.accepted);
        if let Some(found) = &verdict.difference {
            differing.push(format!("ipvsadm {}: {found}", line.join(" ")));
        }
        if verdict.difference.is_some() || verdict.changed && number % PUT_BACK_AFTER == 0 {
            pair.restore();
        }
    }
    for line in &differing {
        println!("{line}");
    }
    println!(
        "seed {seed}: {accepted} of {LINES} accepted, {} differ",
        differing.len()
    );
    assert!(
        accepted * 100 >= LINES * 40,
        "only {accepted} of {LINES} are accepted by the original"
    );
    assert!(differing.len() * 100 <= LINES, "{} of {LINES} differ", differing.len());
}

#[test]
fn five_hundred_lines_of_seed_1() {
    check(1);
}

#[test]
fn five_hundred_lines_of_seed_2() {
    check(2);
}

#[test]
fn five_hundred_lines_of_seed_3() {
    check(3);
}

#[test]
fn five_hundred_lines_of_seed_4() {
    check(4);
}
