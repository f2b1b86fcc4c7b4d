//! What happens while the two directors cannot hear each other counts once they can; and so does another key.

use std::fs;

use super::*;

/// Takes a configuration over on a director.
fn reload(pair: &Pair, index: usize, text: &str) {
    configure(pair.routers.director(index), text);
    pair.says(index, &["reload"]);
}

#[test]
fn what_is_said_while_one_has_no_peer_is_told_once_it_has_one_again() {
    let pair = Pair::build("peer-apart");
    let text = pair.pool("");
    let linked = format!("{}{text}", pair.peer(0));
    let [first, second] = pair.servers().map(|server| format!("web/{server}"));
    let _daemons = [0, 1].map(|index| pair.start(index, &text));
    pair.wait_for_link();
    pair.says(0, &["drain", &first]);
    for index in [0, 1] {
        pair.wait_for_weights(index, [Some(0), Some(3)]);
    }
    reload(&pair, 0, &text);
    pair.says(0, &["ready", &first]);
    pair.says(0, &["weight", &second, "7"]);
    pair.wait_for_weights(0, [Some(3), Some(7)]);
    assert_eq!(pair.weights(1), [Some(0), Some(3)]);
    reload(&pair, 0, &linked);
    pair.wait_for_weights(1, [Some(3), Some(7)]);
    assert_eq!(pair.weights(0), [Some(3), Some(7)]);
    // What is said once more is later than what was said there in between.
    pair.says(0, &["drain", &first]);
    pair.wait_for_weights(1, [Some(0), Some(7)]);
    reload(&pair, 0, &text);
    pair.says(1, &["ready", &first]);
    pair.wait_for_weights(1, [Some(3), Some(7)]);
    pair.says(0, &["drain", &first]);
    reload(&pair, 0, &linked);
    pair.wait_for_weights(1, [Some(0), Some(7)]);
    assert_eq!(pair.weights(0), [Some(0), Some(7)]);
}

#[test]
fn with_an_added_server_goes_what_was_said_of_it_where_it_was_added() {
    let pair = Pair::build("peer-added");
    let text = pair.pool("");
    let [a, b, c, _] = match pair.servers()[0] {
        SocketAddr::V4(server) => server.ip().octets(),
        SocketAddr::V6(server) => panic!("{server}"),
    };
    let added = SocketAddr::new([a, b, c, 78].into(), 80);
    let server = format!("web/{added}");
    let _daemons = [0, 1].map(|index| pair.start(index, &text));
    pair.wait_for_link();
    let weight = |index: usize| {
        let found = table(pair.routers.director(index), &["-t", &pair.vip().to_string()]).unwrap_or_default();
        found.get(&added).map(|found| found.weight)
    };
    let wait_for = |wanted: [Option<u32>; 2]| {
        let is_so = || [0, 1].map(weight) == wanted;
        wait_until("the weight of the added server", SOON, is_so)
            .unwrap_or_else(|error| panic!("{error}: {:?}, wanted {wanted:?}", [0, 1].map(weight)));
    };
    for index in [0, 1] {
        pair.says(index, &["add", &server]);
    }
    wait_for([Some(1), Some(1)]);
    pair.says(0, &["drain", &server]);
    wait_for([Some(0), Some(0)]);
    pair.says(0, &["remove", &server]);
    wait_for([None, Some(1)]);
    pair.says(0, &["add", &server]);
    wait_for([Some(1), Some(1)]);
    // What the other one's operator wants of it stays, and holds here too once it is back.
    pair.says(1, &["drain", &server]);
    wait_for([Some(0), Some(0)]);
    pair.says(0, &["remove", &server]);
    wait_for([None, Some(0)]);
    pair.says(0, &["add", &server]);
    wait_for([Some(0), Some(0)]);
}

#[test]
fn another_key_in_the_same_file_counts_with_the_next_reload() {
    let pair = Pair::build("peer-newkey");
    let text = pair.pool(CHECK);
    let _first = pair.start(0, &text);
    let mut second = pair.start(1, &text);
    pair.wait_for_link();
    let linked = format!("{}{text}", pair.peer(1));
    let since = pair.status(1)["since"].clone();
    // A file that is no key leaves everything as it is.
    let file = pair.key_file(1);
    let before = fs::read(&file).expect("a key");
    fs::write(&file, "no key").expect("written");
    reload(&pair, 1, &linked);
    second.wait_for("goes on with the key that it has");
    fs::write(&file, &before).expect("written");
    reload(&pair, 1, &linked);
    let status = pair.status(1);
    assert_eq!((&status["since"], &status["connected"]), (&since, &true.into()));
    // Another key is shown, and refused until the other one knows of it.
    fs::copy(pair.key_file("stranger"), &file).expect("copied");
    reload(&pair, 1, &linked);
    second.wait_for(&format!("its `peer_key` has to be {}", pair.keys[2]));
    let is_refused = || {
        pair.status(0)["trouble"]
            .as_str()
            .is_some_and(|text| text.contains(&pair.keys[2]))
    };
    wait_until("the other one sees the new key", SOON, is_refused).expect("in time");
    assert_eq!(pair.status(1)["key"], pair.keys[2].as_str());
    let known = pair.peer(0).replace(&pair.keys[1], &pair.keys[2]);
    reload(&pair, 0, &format!("{known}{text}"));
    pair.wait_for_link();
}
