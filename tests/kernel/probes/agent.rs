//! The agent probe against agents of every kind.

use std::io::{Read, Write};
use std::time::Duration;

use ipvsd::model::{ProbeType, StateAdvice, WeightAdvice};

use super::servers::{Odd, start};
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Agent);
    let server = stand.server();
    stand.silent(Form::Refusing, "", 90, "connection refused");
    // An agent as people write them.
    let script = "import socket,time\ns=socket.create_server(('0.0.0.0',90))\nwhile True:\n c,a=s.accept()\n \
                  c.sendall(b'up ready 75%\\n')\n c.close()";
    let _python = start(server, &["/usr/bin/python3", "-c", script], 90);
    let advice = stand.passes(Form::Healthy, "", 90).advice.expect("advice");
    assert_eq!(
        (advice.weight, advice.state),
        (Some(WeightAdvice::Percent(75)), Some(StateAdvice::Ready))
    );
    let _asked = Odd::start(server, 91, |mut stream| {
        let mut question = [0; 16];
        let read = stream.read(&mut question).unwrap_or(0);
        let answer: &[u8] = if question[..read] == *b"how?\n" {
            b"up 50%\r\n"
        } else {
            b"fail\r\n"
        };
        let _ = stream.write_all(answer);
    });
    stand.passes(Form::Healthy, "send = 'how?\\n'", 91);
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 92, 90, late, usize::MAX);
    assert!(stand.passes(Form::Slow, "", 92).latency >= late);
    let _down = Odd::saying(server, 93, b"down # disk full\r\n");
    stand.fails(Form::WrongAnswer, "", 93, "it says \"disk full\"");
    let _drain = Odd::saying(server, 94, b"drain\n");
    let drained = stand.passes(Form::Healthy, "", 94).advice.expect("advice");
    assert_eq!(drained.state, Some(StateAdvice::Drain));
    let _nonsense = Odd::saying(server, 95, b"<html>404</html>\n");
    stand.silent(
        Form::HalfBroken,
        "",
        95,
        "the answer is no agent's line: \"<html>404</html>\" means nothing",
    );
    let _flood = Odd::flooding(server, 96, b"uuuuuuuuuuuuuuuu");
    stand.silent(Form::HalfBroken, "", 96, "longer than 1024 bytes");
    let _silent = Odd::silent(server, 97);
    stand.silent(Form::Hanging, "timeout = \"500ms\"", 97, "no answer in time");
    stand.finish();
}
