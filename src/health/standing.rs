//! One server: from everything that is said about it to the state and the weight that count.
//!
//! Each input belongs to whoever sets it and is undone by nobody else; what counts is worked out anew from all of them,
//! so that no order of events leaves anything behind.

use crate::model::{AdminState, CheckState, ServerState, WeightAdvice, WeightSource};

/// The highest weight that the kernel takes.
const MOST: u32 = 2_147_483_647;

/// What is said about one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The weight in the configuration.
    pub configured_weight: u32,
    /// The weight that the operator wants instead.
    pub operator_weight: Option<WeightAdvice>,
    /// How the operator wants it used.
    pub operator_state: AdminState,
    /// What each of its checks that advises anything advises.
    pub advised: Vec<Advised>,
    /// The worst of its checks.
    pub checks: ServerState,
}

impl Inputs {
    /// A server about which nothing is said but what its configuration and its checks say.
    pub fn new(configured_weight: u32, checks: ServerState) -> Self {
        Self {
            configured_weight,
            operator_weight: None,
            operator_state: AdminState::Ready,
            advised: Vec::new(),
            checks,
        }
    }
}

/// What one check advises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advised {
    /// The check's name.
    pub check: String,
    /// The weight.
    pub weight: Option<WeightAdvice>,
    /// The state.
    pub state: AdminState,
}

/// What counts for one server: the worst of its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Down for whoever is in maintenance, whatever the checks say.
    pub state: ServerState,
    /// The worst of all wishes.
    pub admin: AdminState,
    /// The weight while it serves, 0 to 2147483647; 0 while it is drained.
    pub weight: u32,
    /// Whose weight that is.
    pub weight_from: WeightSource,
}

impl Standing {
    /// What counts for a server with this weight and state, if nobody says anything else.
    pub fn plain(weight: u32, state: ServerState) -> Self {
        standing(&Inputs::new(weight, state))
    }

    /// Whether it can take new connections.
    pub fn can_serve(&self) -> bool {
        self.state == ServerState::Up && self.weight > 0
    }
}

/// What counts for a server.
///
/// - State: the worst of the checks, and down in maintenance. A server without a verdict in maintenance is down.
/// - Weight: what is advised stands for the configured one, the lowest of several; what the operator sets is a ceiling
///   for advice. Per cent of the operator's are of the configured
///   weight, advised ones of the operator's where there is one. Drained: 0.
pub fn standing(inputs: &Inputs) -> Standing {
    let admin = inputs
        .advised
        .iter()
        .map(|advised| advised.state)
        .fold(inputs.operator_state, AdminState::max);
    let state = match admin {
        AdminState::Maint => ServerState::Down,
        AdminState::Ready | AdminState::Drain => inputs.checks,
    };
    let own = inputs
        .operator_weight
        .map(|own| absolute(own, inputs.configured_weight));
    let base = own.unwrap_or(inputs.configured_weight);
    let advised = inputs
        .advised
        .iter()
        .filter_map(|advised| Some((absolute(advised.weight?, base), &advised.check)))
        .min();
    let (weight, weight_from) = match (own, advised) {
        (Some(own), Some((advised, _))) if own <= advised => (own, WeightSource::Operator),
        (Some(_) | None, Some((advised, check))) => (advised, WeightSource::Advice(check.clone())),
        (Some(own), None) => (own, WeightSource::Operator),
        (None, None) => (inputs.configured_weight, WeightSource::Configuration),
    };
    let weight = match admin {
        AdminState::Ready => weight,
        AdminState::Drain | AdminState::Maint => 0,
    };
    Standing {
        state,
        admin,
        weight,
        weight_from,
    }
}

/// An advised weight as a number; per cent are rounded up, so that only 0 % is nothing.
fn absolute(advice: WeightAdvice, base: u32) -> u32 {
    match advice {
        WeightAdvice::Absolute(weight) => weight.min(MOST),
        WeightAdvice::Percent(percent) => {
            let share = (u64::from(base) * u64::from(percent)).div_ceil(100);
            u32::try_from(share).unwrap_or(MOST).min(MOST)
        }
    }
}

/// The state of a real server as its checks have it: the worst of them; without checks it is taken as up.
pub fn server_state(checks: impl IntoIterator<Item = CheckState>) -> ServerState {
    checks
        .into_iter()
        .fold(ServerState::Up, |worst, check| match (worst, check) {
            (ServerState::Down, _) | (_, CheckState::Down) => ServerState::Down,
            (ServerState::Unknown, _) | (_, CheckState::Unknown) => ServerState::Unknown,
            (ServerState::Up, CheckState::Up) => ServerState::Up,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn advised(weight: Option<WeightAdvice>, state: AdminState) -> Advised {
        Advised {
            check: "agent".to_owned(),
            weight,
            state,
        }
    }

    #[test]
    fn a_server_without_checks_is_up_and_the_worst_check_decides() {
        assert_eq!(server_state([]), ServerState::Up);
        assert_eq!(
            server_state([CheckState::Up, CheckState::Unknown]),
            ServerState::Unknown
        );
        assert_eq!(
            server_state([CheckState::Unknown, CheckState::Down, CheckState::Up]),
            ServerState::Down
        );
    }

    #[test]
    fn the_weight_is_the_configured_one_unless_somebody_says_otherwise() {
        use WeightAdvice::{Absolute, Percent};
        let advice = || WeightSource::Advice("agent".to_owned());
        let cases = [
            (None, vec![], 10, WeightSource::Configuration),
            (Some(3), vec![], 3, WeightSource::Operator),
            (Some(0), vec![], 0, WeightSource::Operator),
            (None, vec![Absolute(7)], 7, advice()),
            (None, vec![Absolute(70)], 70, advice()),
            (None, vec![Percent(25)], 3, advice()),
            (None, vec![Percent(1)], 1, advice()),
            (None, vec![Percent(0)], 0, advice()),
            (None, vec![Absolute(7), Percent(50)], 5, advice()),
            (Some(4), vec![Absolute(7)], 4, WeightSource::Operator),
            (Some(4), vec![Percent(50)], 2, advice()),
            (Some(4), vec![Percent(200)], 4, WeightSource::Operator),
            (None, vec![Absolute(u32::MAX)], MOST, advice()),
        ];
        for (operator_weight, weights, weight, weight_from) in cases {
            let inputs = Inputs {
                operator_weight: operator_weight.map(Absolute),
                advised: weights
                    .into_iter()
                    .map(|weight| advised(Some(weight), AdminState::Ready))
                    .collect(),
                ..Inputs::new(10, ServerState::Up)
            };
            let found = standing(&inputs);
            assert_eq!((found.weight, found.weight_from), (weight, weight_from), "{inputs:?}");
        }
    }

    #[test]
    fn an_operators_share_is_of_the_configured_weight_and_a_ceiling_for_advice() {
        use WeightAdvice::{Absolute, Percent};
        for (operator, advice, weight) in [
            (Percent(50), None, 5),
            (Percent(1), None, 1),
            (Percent(0), None, 0),
            (Percent(300), None, 30),
            (Percent(50), Some(Percent(50)), 3),
            (Percent(50), Some(Absolute(2)), 2),
            (Percent(50), Some(Absolute(7)), 5),
        ] {
            let inputs = Inputs {
                operator_weight: Some(operator),
                advised: vec![advised(advice, AdminState::Ready)],
                ..Inputs::new(10, ServerState::Up)
            };
            assert_eq!(standing(&inputs).weight, weight, "{inputs:?}");
        }
    }

    #[test]
    fn the_worst_wish_counts_and_the_state_is_the_worst_of_checks_and_wishes() {
        use AdminState::{Drain, Maint, Ready};
        use ServerState::{Down, Unknown, Up};
        for (operator, agent, checks, admin, state, weight) in [
            (Ready, Ready, Up, Ready, Up, 10),
            (Drain, Ready, Up, Drain, Up, 0),
            (Ready, Drain, Up, Drain, Up, 0),
            (Ready, Maint, Up, Maint, Down, 0),
            (Maint, Drain, Unknown, Maint, Down, 0),
            (Drain, Ready, Unknown, Drain, Unknown, 0),
            (Drain, Ready, Down, Drain, Down, 0),
            (Ready, Ready, Down, Ready, Down, 10),
        ] {
            let inputs = Inputs {
                operator_state: operator,
                advised: vec![advised(None, agent)],
                ..Inputs::new(10, checks)
            };
            let found = standing(&inputs);
            assert_eq!(
                (found.admin, found.state, found.weight),
                (admin, state, weight),
                "{inputs:?}"
            );
        }
    }

    fn some_inputs() -> impl Strategy<Value = Inputs> {
        let state = prop::sample::select(vec![ServerState::Up, ServerState::Down, ServerState::Unknown]);
        let admin = || prop::sample::select(vec![AdminState::Ready, AdminState::Drain, AdminState::Maint]);
        let weight = prop::option::of(prop_oneof![
            (0u32..300).prop_map(WeightAdvice::Absolute),
            (0u32..300).prop_map(WeightAdvice::Percent),
        ]);
        let advised = prop::collection::vec(
            (weight.clone(), admin()).prop_map(|(weight, state)| advised(weight, state)),
            0..3,
        );
        (0u32..200, weight.clone(), admin(), advised, state).prop_map(
            |(configured_weight, operator_weight, operator_state, advised, checks)| Inputs {
                configured_weight,
                operator_weight,
                operator_state,
                advised,
                checks,
            },
        )
    }

    proptest! {
        /// A further wish or a further bad check never makes a server serve more.
        #[test]
        fn another_opinion_never_makes_it_better(inputs in some_inputs(), state in 0usize..3, drain: bool) {
            let before = standing(&inputs);
            let mut worse = inputs.clone();
            worse.advised.push(advised(None, [AdminState::Ready, AdminState::Drain, AdminState::Maint][state]));
            if drain {
                worse.checks = ServerState::Down;
            }
            let after = standing(&worse);
            prop_assert!(after.weight <= before.weight);
            prop_assert!(!after.can_serve() || before.can_serve());
            prop_assert!(after.admin >= before.admin);
        }

        /// Whoever takes back what he said leaves what was without him.
        #[test]
        fn what_is_taken_back_leaves_nothing_behind(inputs in some_inputs(), weight in 0u32..200) {
            let before = standing(&inputs);
            let mut changed = inputs.clone();
            changed.operator_weight = Some(WeightAdvice::Absolute(weight));
            changed.operator_state = AdminState::Maint;
            prop_assert!(!standing(&changed).can_serve());
            changed.operator_weight = inputs.operator_weight;
            changed.operator_state = inputs.operator_state;
            prop_assert_eq!(standing(&changed), before);
        }
    }
}
