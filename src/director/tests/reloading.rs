//! What a reload leaves of what operators have said of servers that they had added until then.

use super::operator::id;
use super::*;
use crate::model::{AdminState, Lasting, OperatorOrder, PeerWish, PeerWord, ServerId, UnixTime};

fn now() -> Now {
    Now {
        instant: Instant::START,
        time: UnixTime::from_millis(1_800_000_000_000),
    }
}

fn drain() -> PeerWish {
    PeerWish::State {
        state: AdminState::Drain,
        drain_until: None,
        drain_for: None,
    }
}

/// A reload in the order in which the daemon tells of it.
fn reload(world: &mut World, files: &Config, wishlist: &mut Wishlist, words: &mut Words) -> Vec<OperatorOrder> {
    let passed = wishlist.pass_reload(files, words, now());
    let (config, problems) = deviate(&Arc::new(files.clone()), wishlist);
    assert_eq!(problems, Vec::<String>::new());
    world.tell(Event::ConfigLoaded(config));
    for order in wishlist.orders().into_iter().chain(passed.clone()) {
        world.tell(Event::Operator(order));
    }
    world.run_for(seconds(5));
    passed
}

/// Adds these until the next reload, and drains them: the second one on the other director.
fn added(world: &mut World, servers: [&ServerId; 2]) -> (Wishlist, Words) {
    let (mut wishlist, mut words) = (Wishlist::default(), Words::default());
    for (server, address) in servers.into_iter().zip(["192.0.2.12", "192.0.2.13"]) {
        wishlist.add(server, address, 1, Lasting::UntilReload, "root", now());
    }
    let kept = Lasting::UntilTakenBack;
    wishlist.set_state(servers[0], AdminState::Drain, None, kept, "root", now());
    words.say(servers[0], drain(), "root", now().time);
    let theirs = PeerWord {
        virtual_server: servers[1].virtual_server.clone(),
        server: servers[1].server.clone(),
        wish: drain(),
        by: "root".to_owned(),
        at: now().time,
    };
    for word in words.hear_some(vec![theirs], now().time).won {
        wishlist.follow(&word, now());
    }
    let files = config(vec![pool(200, &[11])]);
    let (config, _) = deviate(&Arc::new(files), &wishlist);
    world.start((*config).clone());
    for order in wishlist.orders() {
        world.tell(Event::Operator(order));
    }
    world.run_for(seconds(5));
    (wishlist, words)
}

#[test]
fn a_drain_of_an_added_server_goes_with_the_reload_that_brings_it_and_the_peers_stays() {
    let mut world = World::new();
    let (here, there) = (id(200, 12), id(200, 13));
    let (mut wishlist, mut words) = added(&mut world, [&here, &there]);
    assert_eq!(world.shown(), "11=1 12=0 13=0");
    let files = config(vec![pool(200, &[11, 12, 13])]);
    reload(&mut world, &files, &mut wishlist, &mut words);
    assert_eq!(world.shown(), "11=1 12=1 13=0");
    // There is a wish behind whatever holds, and a word behind every wish.
    let wished: Vec<_> = wishlist.wishes().map(|wish| wish.report().by).collect();
    assert_eq!(wished, ["root on the peer"]);
    assert_eq!((words.of(&here).count(), words.of(&there).count()), (0, 1));
    // The next process has the same, and the next reload changes nothing.
    let mut restarted = Wishlist::restored(wishlist.wishes().cloned().collect(), now());
    assert_eq!(restarted.orders(), wishlist.orders());
    assert_eq!(reload(&mut world, &files, &mut restarted, &mut words), []);
    assert_eq!(world.shown(), "11=1 12=1 13=0");
}

#[test]
fn what_the_peer_has_said_of_a_server_waits_for_the_files_to_have_it() {
    let mut world = World::new();
    let (here, there) = (id(200, 12), id(200, 13));
    let (mut wishlist, mut words) = added(&mut world, [&here, &there]);
    reload(&mut world, &config(vec![pool(200, &[11])]), &mut wishlist, &mut words);
    assert_eq!(world.shown(), "11=1");
    assert_eq!(wishlist.wishes().count(), 0);
    let files = config(vec![pool(200, &[11, 12, 13])]);
    reload(&mut world, &files, &mut wishlist, &mut words);
    assert_eq!(world.shown(), "11=1 12=1 13=0");
}

#[test]
fn a_server_that_was_added_and_drained_and_then_came_by_the_files_is_removed_as_theirs() {
    let mut world = World::new();
    let server = id(200, 12);
    let (mut wishlist, mut words) = (Wishlist::default(), Words::default());
    let kept = Lasting::UntilTakenBack;
    wishlist.add(&server, "192.0.2.12", 1, kept, "root", now());
    wishlist.set_state(&server, AdminState::Drain, None, kept, "root", now());
    words.say(&server, drain(), "root", now().time);
    let without = config(vec![pool(200, &[11])]);
    world.start((*deviate(&Arc::new(without.clone()), &wishlist).0).clone());
    let files = config(vec![pool(200, &[11, 12])]);
    assert!(!have(&without, &server) && have(&files, &server));
    reload(&mut world, &files, &mut wishlist, &mut words);
    assert_eq!(world.shown(), "11=1 12=0");
    // It is not there any more, and stays away.
    wishlist.remove(&server, have(&files, &server), kept, "root", now());
    reload(&mut world, &files, &mut wishlist, &mut words);
    assert_eq!(world.shown(), "11=1");
    // What was said of it is known, and holds once it is put back: there is a wish and a word behind it.
    wishlist.put_back(&server, kept, "root", now());
    reload(&mut world, &files, &mut wishlist, &mut words);
    assert_eq!(world.shown(), "11=1 12=0");
    assert_eq!((wishlist.wishes().count(), words.of(&server).count()), (1, 1));
}
