//! The smtp probe against Python's smtpd and servers of every kind.

use std::time::Duration;

use ipvsd::model::ProbeType;
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, start};
use super::{Form, Stand};

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Smtp);
    let server = stand.server();
    stand.fails(Form::Refusing, "", 25, "connection refused");
    let smtpd = start(
        server,
        &[
            "/usr/bin/python3",
            "-W",
            "ignore",
            "-m",
            "smtpd",
            "-n",
            "-c",
            "DebuggingServer",
            "0.0.0.0:25",
        ],
        25,
    );
    stand.passes(Form::Healthy, "", 25);
    stand.passes(Form::Healthy, "helo = \"director.example.com\"", 25);
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("mail", "mail.example.com", 90);
    let starttls = format!(
        "starttls = true\nserver_name = \"mail.example.com\"\nca_file = \"{}\"",
        authority.path("ca.pem")
    );
    stand.fails(Form::WrongAnswer, &starttls, 25, "TLS: the server offers no STARTTLS");
    let script = format!(
        "import socket,ssl\nx=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\nx.load_cert_chain('{certificate}','{key}')\n\
         s=socket.create_server(('0.0.0.0',26))\nwhile True:\n c,a=s.accept()\n try:\n  c.sendall(b'220 mail\\r\\n')\n  \
         c.recv(99)\n  c.sendall(b'250-mail\\r\\n250 STARTTLS\\r\\n')\n  c.recv(99)\n  c.sendall(b'220 go\\r\\n')\n  \
         c=x.wrap_socket(c,server_side=True)\n  c.recv(99)\n  c.sendall(b'250 mail\\r\\n')\n except OSError: pass\n c.close()"
    );
    let _tls = start(server, &["/usr/bin/python3", "-c", &script], 26);
    stand.passes(Form::Healthy, &starttls, 26);
    stand.fails(
        Form::WrongAnswer,
        &starttls.replace("mail.ex", "other.ex"),
        26,
        "TLS: the certificate is for another name",
    );
    let _busy = Odd::saying(server, 27, b"421 too many connections\r\n");
    stand.fails(
        Form::WrongAnswer,
        "",
        27,
        "the banner is \"421 too many connections\", not 220",
    );
    let late = Duration::from_millis(200);
    let _slow = Odd::relay(server, 81, 25, late, usize::MAX);
    assert!(stand.passes(Form::Slow, "", 81).latency >= 2 * late);
    let _half = Odd::relay(server, 82, 25, Duration::ZERO, 10);
    stand.fails(Form::HalfBroken, "", 82, "connection closed: the greeting is missing");
    let _junk = Odd::saying(server, 83, b"SSH-2.0-OpenSSH\r\n");
    stand.fails(Form::HalfBroken, "", 83, "the answer is no SMTP");
    let _flood = Odd::flooding(server, 84, b"220-mail\r\n");
    stand.fails(Form::HalfBroken, "", 84, "the greeting is longer than 16384 bytes");
    smtpd.signal(Signal::SIGSTOP).expect("a signal");
    stand.fails(
        Form::Hanging,
        "timeout = \"1s\"",
        25,
        "no answer in time: the greeting is missing",
    );
    stand.finish();
}
