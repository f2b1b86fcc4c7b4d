//! The grpc probe against Debian's grpcio for Python.

use std::time::Duration;

use ipvsd::model::ProbeType;
use nix::sys::signal::Signal;

use super::servers::{Authority, Odd, nginx, say, start};
use super::{Form, Stand};

const SERVER: &str = "import sys,os\n\
    sys.path.insert(0, os.environ['LAB_ROOT'] + '/usr/lib/python3/dist-packages')\n\
    import grpc,time\nfrom concurrent import futures\n\
    def check(request, context):\n \
     if request == b'\\n\\x04shop': return b'\\x08\\x02'\n \
     if request: context.abort(grpc.StatusCode.NOT_FOUND, 'no such service')\n \
     return b'\\x08\\x01'\n\
    health = grpc.method_handlers_generic_handler('grpc.health.v1.Health', {'Check': grpc.unary_unary_rpc_method_handler(check)})\n\
    server = grpc.server(futures.ThreadPoolExecutor(2))\n\
    server.add_generic_rpc_handlers((health,))\n\
    server.add_insecure_port('0.0.0.0:50051')\nserver.start()\ntime.sleep(600)\n";

#[test]
fn the_forms_of_a_server_are_told_apart() {
    let stand = Stand::build(ProbeType::Grpc);
    let server = stand.server();
    stand.fails(Form::Refusing, "", 50051, "connection refused");
    let python = start(server, &["/usr/bin/python3", "-c", SERVER], 50051);
    stand.passes(Form::Healthy, "", 50051);
    stand.fails(Form::WrongAnswer, "service = \"shop\"", 50051, "it says NOT_SERVING");
    stand.fails(
        Form::WrongAnswer,
        "service = \"none\"",
        50051,
        "the gRPC status is \"5 no such service\", not 0",
    );
    let _web = nginx(server, "server { listen 8080 http2; location / { return 404; } }", 8080);
    stand.fails(Form::WrongAnswer, "", 8080, "the HTTP status is 404, not 200");
    let late = Duration::from_millis(300);
    let _slow = Odd::relay(server, 81, 50051, late, usize::MAX);
    assert!(stand.passes(Form::Slow, "", 81).latency >= late);
    let _half = Odd::relay(server, 82, 50051, Duration::ZERO, 12);
    stand.fails(Form::HalfBroken, "", 82, "");
    let _junk = Odd::when_asked(server, 83, say(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    stand.fails(Form::HalfBroken, "", 83, "the answer is no HTTP");
    python.signal(Signal::SIGSTOP).expect("a signal");
    stand.fails(
        Form::Hanging,
        "timeout = \"1s\"",
        50051,
        "no answer in time: the status line and headers is missing",
    );
    stand.finish();
}

#[test]
fn a_proxy_that_wants_a_certificate_is_shown_one() {
    let stand = Stand::build(ProbeType::Grpc);
    let server = stand.server();
    let authority = Authority::make(server);
    let (certificate, key) = authority.issue("good", "shop.example.com", 90);
    let client = authority.issue("client", "director.example.com", 90);
    let ca = authority.path("ca.pem");
    let _python = start(server, &["/usr/bin/python3", "-c", SERVER], 50051);
    let proxy = format!(
        "server {{ listen 443 ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};
         ssl_client_certificate {ca}; ssl_verify_client on; location / {{ grpc_pass grpc://127.0.0.1:50051; }} }}"
    );
    let _nginx = nginx(server, &proxy, 443);
    let keys = format!("tls = true\nhost = \"shop.example.com\"\nca_file = \"{ca}\"");
    stand.fails(Form::WrongAnswer, &keys, 443, "the HTTP status is 400, not 200");
    let identity = format!(
        "{keys}\nclient_certificate = \"{}\"\nclient_key = \"{}\"",
        client.0, client.1
    );
    stand.passes(Form::Healthy, &identity, 443);
    stand.fails(
        Form::WrongAnswer,
        &format!("{identity}\nservice = \"shop\""),
        443,
        "it says NOT_SERVING",
    );
}
