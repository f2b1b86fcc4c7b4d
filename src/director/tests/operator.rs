//! What an operator and advice do to servers.

use super::*;
use crate::model::{AdminState, Advice, OperatorOrder, OrderRefused, ServerId, StateAdvice, WeightAdvice};

pub(super) fn id(vip: u8, n: u8) -> ServerId {
    ServerId {
        virtual_server: format!("pool-{vip}"),
        server: format!("192.0.2.{n}:80"),
    }
}

impl World {
    pub(super) fn set_state(&mut self, vip: u8, n: u8, state: AdminState) {
        let server = id(vip, n);
        self.tell(Event::Operator(OperatorOrder::SetState { server, state }));
        self.run_for(Duration::from_millis(10));
    }

    pub(super) fn set_weight(&mut self, vip: u8, n: u8, weight: Option<u32>) {
        let server = id(vip, n);
        self.tell(Event::Operator(OperatorOrder::SetWeight {
            server,
            weight: weight.map(WeightAdvice::Absolute),
        }));
        self.run_for(Duration::from_millis(10));
    }
}

#[test]
fn a_drained_server_stays_at_weight_0_and_one_in_maintenance_goes_and_only_the_operator_takes_it_back() {
    let mut world = World::new();
    let servers = config(vec![pool(200, &[11, 12])]);
    world.start(servers.clone());
    world.run_for(seconds(5));
    world.log.clear();
    world.set_state(200, 11, AdminState::Drain);
    assert_eq!(world.shown(), "11=0 12=1");
    world.set_state(200, 11, AdminState::Maint);
    assert_eq!(world.shown(), "12=1");
    // A failure and a recovery meanwhile change nothing about it, and neither does a reload.
    world.answer(11, Answer::Refuses);
    world.run_for(seconds(10));
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(10));
    world.start(servers);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "12=1");
    world.set_state(200, 11, AdminState::Ready);
    assert_eq!(world.shown(), "11=1 12=1");
    let admin: Vec<_> = world
        .log
        .iter()
        .filter(|line| line.contains("maint") || line.contains("drain"))
        .collect();
    assert_eq!(admin.len(), 3, "{admin:?}");
}

#[test]
fn an_operators_weight_holds_over_a_reload_until_it_is_taken_back() {
    let mut world = World::new();
    let mut servers = config(vec![pool(200, &[11, 12])]);
    world.start(servers.clone());
    world.run_for(seconds(5));
    world.set_weight(200, 11, Some(7));
    assert_eq!(world.shown(), "11=7 12=1");
    servers.virtual_servers[0].real_servers[0].spec.weight = 3;
    world.start(servers);
    world.run_for(seconds(5));
    assert_eq!(world.shown(), "11=7 12=1");
    world.set_weight(200, 11, None);
    assert_eq!(world.shown(), "11=3 12=1");
}

#[test]
fn draining_everybody_brings_in_the_sorry_server() {
    let mut world = World::new();
    world.start(config(vec![with_sorry(pool(200, &[11, 12]), 20)]));
    world.run_for(seconds(5));
    world.set_state(200, 11, AdminState::Drain);
    world.set_state(200, 12, AdminState::Drain);
    assert_eq!(world.shown(), "11=0 12=0 20=1");
    world.set_state(200, 12, AdminState::Ready);
    assert_eq!(world.shown(), "11=0 12=1");
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    let order = |server| OperatorOrder::SetWeight { server, weight: None };
    let refused = |server| {
        world
            .director
            .check_order(&order(server))
            .map_err(|why| why.to_string())
    };
    assert_eq!(refused(id(200, 11)), Ok(()));
    assert_eq!(
        refused(id(200, 13)),
        Err(
            "virtual server pool-200 has no real server 192.0.2.13:80 (it has: 192.0.2.11:80, 192.0.2.12:80)"
                .to_owned()
        )
    );
    let pool = world.director.check_order(&OperatorOrder::Return {
        virtual_server: "web".to_owned(),
    });
    assert!(matches!(pool, Err(OrderRefused::NoVirtualServer { .. })));
    world.set_state(9, 9, AdminState::Maint);
}

#[test]
fn advice_is_followed_and_taken_back_only_by_the_check_that_gave_it() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(5));
    let advise = |weight, state| Advice {
        weight,
        state,
        max_connections: None,
    };
    world
        .advice
        .insert(address(11), advise(Some(WeightAdvice::Absolute(9)), None));
    world.run_for(seconds(3));
    assert_eq!(world.shown(), "11=9 12=1");
    world.advice.insert(address(11), advise(None, Some(StateAdvice::Drain)));
    world.run_for(seconds(3));
    assert_eq!(world.shown(), "11=0 12=1");
    // What is not mentioned stays.
    world.advice.insert(address(11), advise(None, None));
    world.run_for(seconds(3));
    world.set_state(200, 11, AdminState::Ready);
    assert_eq!(world.shown(), "11=0 12=1");
    world.advice.insert(address(11), advise(None, Some(StateAdvice::Ready)));
    world.run_for(seconds(3));
    assert_eq!(world.shown(), "11=9 12=1");
}

#[test]
fn a_server_that_answers_drain_is_well_and_gets_nothing_new() {
    let mut world = World::new();
    world.start(config(vec![pool(200, &[11, 12])]));
    world.run_for(seconds(5));
    world.answer(11, Answer::Drains);
    world.run_for(seconds(3));
    assert_eq!(world.shown(), "11=0 12=1");
    world.answer(11, Answer::Accepts);
    world.run_for(seconds(3));
    assert_eq!(world.shown(), "11=1 12=1");
}
