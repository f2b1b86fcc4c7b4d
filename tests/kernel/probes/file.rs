//! The file probe.

use ipvsd::model::{ProbeType, StateAdvice, WeightAdvice};
use nix::fcntl::{Flock, FlockArg};

use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::File);
    let file = stand.director().directory().join("weight");
    let keys = format!("path = \"{}\"", file.display());
    let write = |text: &[u8]| std::fs::write(&file, text).expect("a file");
    stand.fails(Form::Refusing, &keys, 80, "the file is not there");
    stand.passes(Form::Healthy, &format!("{keys}\nmissing = \"up\""), 80);
    write(b"7\n");
    let weighed = stand.passes(Form::Healthy, &keys, 80);
    assert_eq!(weighed.advice.expect("advice").weight, Some(WeightAdvice::Absolute(7)));
    write(b"down # database is being restored\n");
    stand.fails(Form::WrongAnswer, &keys, 80, "it says \"database is being restored\"");
    write(b"drain\n");
    let drained = stand.passes(Form::Healthy, &keys, 80).advice.expect("advice");
    assert_eq!(drained.state, Some(StateAdvice::Drain));
    write(b"nonsense\n");
    stand.fails(
        Form::HalfBroken,
        &keys,
        80,
        "the answer is no weight or state: \"nonsense\" means nothing",
    );
    write(&[b'7'; 10_000]);
    stand.fails(
        Form::HalfBroken,
        &keys,
        80,
        "the file's content is longer than 4096 bytes",
    );
    // Somebody who takes his time to write holds nobody up: what is there counts.
    write(b"5\n");
    let writer = std::fs::OpenOptions::new().append(true).open(&file).expect("a file");
    let writer = Flock::lock(writer, FlockArg::LockExclusive).expect("a lock");
    let meanwhile = stand.passes(Form::Slow, &keys, 80).advice.expect("advice");
    assert_eq!(meanwhile.weight, Some(WeightAdvice::Absolute(5)));
    drop(writer);
    std::fs::remove_file(&file).expect("a file");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    stand.here(Form::Hanging, &keys, 80, "it is no regular file");
    stand.finish();
}
