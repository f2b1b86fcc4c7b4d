//! Who is told of what happens: commands, keepalived's FIFO, a webhook and mail over TLS.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ipvsd_lab::{Forwarding, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::probes::servers::{Authority, Odd, start};
use crate::routers::{Own, Routers, SOON};
use crate::site::{Daemon, Family, IPVSD, Site};

/// A web server that has no time at first, and a mail server that wants TLS and a password: both put down what they get.
const TOLD: &str = r#"
import http.server, ssl, socketserver, threading, base64, sys
certificate, key, posts, mails = sys.argv[1:5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
class Hook(http.server.BaseHTTPRequestHandler):
    seen = 0
    def do_POST(self):
        Hook.seen += 1
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        status = 503 if Hook.seen == 1 else 204
        with open(posts, 'a') as out: out.write(f"{status} {self.path} {self.headers['X-Key']} {body}\n")
        self.send_response(status)
        self.end_headers()
    def log_message(self, *_): pass
class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        stream, inside = self.connection, False
        lines = stream.makefile('rb')
        say = lambda text: stream.sendall(text.encode() + b'\r\n')
        say('220 mail')
        told = []
        while True:
            line = lines.readline().decode().strip()
            word = line.split(' ')[0].upper()
            if not line: return
            if word == 'EHLO': say('250-mail\r\n250 AUTH PLAIN' if inside else '250-mail\r\n250 STARTTLS')
            elif word == 'STARTTLS':
                say('220 go')
                stream, inside = context.wrap_socket(stream, server_side=True), True
                lines = stream.makefile('rb')
            elif word == 'AUTH':
                told.append('AUTH ' + base64.b64decode(line.split(' ')[2]).decode().replace('\0', '|'))
                say('235 welcome')
            elif word == 'DATA':
                say('354 go')
                while (line := lines.readline().decode().rstrip('\r\n')) != '.': told.append(line)
                with open(mails, 'a') as out: out.write('\n'.join(told) + '\n')
                say('250 taken')
            elif word == 'QUIT':
                say('221 bye')
                return
            else: say('250 yes')
threading.Thread(target=socketserver.ThreadingTCPServer(('', 587), Mail).serve_forever).start()
server = http.server.ThreadingHTTPServer(('', 443), Hook)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn everybody_is_told_of_virtual_routers_and_servers_until_the_end() {
    let routers = Routers::build("notify");
    let mut nginx = routers.serve();
    let (director, told) = (routers.director(0), routers.lab.client(0));
    let address = told.address4(Segment::Client);
    let authority = Authority::make(told);
    let (certificate, key) = authority.issue("told", &format!("told.example.com,IP:{address}"), 90);
    let file = |name: &str| told.directory().join(name);
    let (posts, mails, fifo) = (file("posts"), file("mails"), director.directory().join("fifo"));
    let [shown_posts, shown_mails] = [&posts, &mails].map(|path| path.display().to_string());
    let _told = start(
        told,
        &[
            "/usr/bin/python3",
            "-c",
            TOLD,
            &certificate,
            &key,
            &shown_posts,
            &shown_mails,
        ],
        587,
    );
    // Whoever runs them may write here and nowhere else.
    let ran = tempfile::tempdir().expect("a directory");
    fs::set_permissions(ran.path(), Permissions::from_mode(0o777)).expect("a directory");
    let (ran, bad) = (ran.path().join("ran"), ran.path().join("bad"));
    let command = |what: &str| {
        let script = format!("echo {what} \"$@\" $IPVSD_EVENT $(id -un) >>{}", ran.display());
        format!("{{ argv = [\"/bin/sh\", \"-c\", '{script}', \"sh\"] }}")
    };
    let commands = format!(
        "notify_master = {}\nnotify_backup = {}\nnotify_fault = {}\nnotify = {}\n",
        command("master"),
        command("backup"),
        command("fault"),
        command("any")
    );
    let tracks = format!(
        "track_script = {{ argv = [\"/bin/sh\", \"-c\", \"test ! -e {}\"], interval = \"500ms\", timeout = \"10s\" }}",
        bad.display()
    );
    let stop = command("stop");
    let more = format!("advert_int = \"500ms\"\n{tracks}\n{commands}notify_stop = {stop}");
    let ca = authority.path("ca.pem");
    let text = format!(
        "[notify]\nfifo = \"{}\"\n[[notify.webhook]]\nurl = \"https://{address}/hook\"\nca_file = \"{ca}\"\n\
         headers = {{ X-Key = \"secret\" }}\nretry_interval = \"200ms\"\ntimeout = \"10s\"\n\
         [notify.mail]\nserver = \"{address}\"\nca_file = \"{ca}\"\nuser = \"lb\"\npassword = \"pass\"\n\
         from = \"ipvsd@example.com\"\nto = \"ops@example.com\"\ngather = \"5s\"\ntimeout = \"10s\"\n{}\n\
         [[vrrp_sync_group]]\nname = \"VG_1\"\ninstances = [\"VI_1\"]\n{commands}",
        fifo.display(),
        routers
            .instance(
                0,
                Own {
                    priority: 150,
                    more: &more
                }
            )
            .replace("fall = 10", "fall = 2"),
    );
    director
        .exec_ok(&["mkfifo", &fifo.display().to_string()])
        .expect("mkfifo");
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let pipe = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(&fifo)
        .expect("the FIFO");
    let mut daemon = routers.start(0, &text, &[]);
    wait_until("it is master", SOON, || routers.has(0, routers.vip(0))).expect("in time");
    let has_run = |what: &str, times: usize| {
        wait_until(what, SOON, || read(&ran).matches(what).count() == times)
            .unwrap_or_else(|problem| panic!("{problem}: {}\n{}", read(&ran), daemon.process.log()));
    };
    has_run("any GROUP VG_1 MASTER", 1);
    fs::write(&bad, "").expect("a file");
    has_run("any GROUP VG_1 FAULT", 1);
    fs::remove_file(&bad).expect("no file");
    has_run("any GROUP VG_1 MASTER", 2);
    nginx.stop().expect("nginx ends");
    wait_until("mail tells of the server", SOON, || read(&mails).contains("is down")).unwrap_or_else(|problem| {
        panic!(
            "{problem}: {}\n{}\n{}",
            read(&mails),
            read(&posts),
            daemon.process.log()
        )
    });
    daemon.process.signal(Signal::SIGTERM).expect("a signal");
    daemon.process.wait(SOON).expect("it ends");
    let log = daemon.process.log();

    // As nobody, in order, up to the end.
    let ran = read(&ran);
    let of = |who: &str| ran.lines().filter(|line| line.contains(who)).collect::<Vec<_>>();
    assert_eq!(
        of("INSTANCE"),
        [
            "any INSTANCE VI_1 BACKUP 150 vrrp_backup nobody",
            "any INSTANCE VI_1 MASTER 150 vrrp_master nobody",
            "any INSTANCE VI_1 FAULT 150 vrrp_fault nobody",
            "any INSTANCE VI_1 BACKUP 150 vrrp_backup nobody",
            "any INSTANCE VI_1 MASTER 150 vrrp_master nobody",
            "any INSTANCE VI_1 STOP 150 vrrp_stop nobody",
        ],
        "{ran}\n{log}"
    );
    assert_eq!(
        of("GROUP"),
        [
            "any GROUP VG_1 BACKUP 0 vrrp_backup nobody",
            "any GROUP VG_1 MASTER 0 vrrp_master nobody",
            "any GROUP VG_1 FAULT 0 vrrp_fault nobody",
            "any GROUP VG_1 BACKUP 0 vrrp_backup nobody",
            "any GROUP VG_1 MASTER 0 vrrp_master nobody",
            "any GROUP VG_1 STOP 0 vrrp_stop nobody",
        ],
        "{ran}\n{log}"
    );
    for (command, times) in [
        ("backup vrrp_backup", 4),
        ("master vrrp_master", 4),
        ("fault vrrp_fault", 2),
        ("stop vrrp_stop", 1),
    ] {
        let command = format!("{command} nobody");
        let found = ran.lines().filter(|line| *line == command);
        assert_eq!(found.count(), times, "{command}: {ran}");
    }

    // The first one was refused for the moment, and came again.
    let posts = read(&posts);
    let first: Vec<_> = posts.lines().take(2).collect();
    assert!(first[0].starts_with("503 /hook secret {"), "{posts}");
    assert_eq!(first[1].strip_prefix("204"), first[0].strip_prefix("503"), "{posts}");
    for wanted in [
        "\"kind\":\"vrrp\"",
        "\"to\":\"master\"",
        "\"to\":\"down\"",
        "\"kind\":\"tier\"",
        "\"host\":\"",
    ] {
        assert!(posts.contains(wanted), "{wanted} in {posts}");
    }
    assert!(posts.contains("\"to\":\"initialize\""), "the end is told, too: {posts}");

    let mails = read(&mails);
    for wanted in [
        "AUTH |lb|pass",
        "From: ipvsd@example.com",
        "To: ops@example.com",
        "Subject: [ipvsd ",
        "is master",
    ] {
        assert!(mails.contains(wanted), "{wanted} in {mails}");
    }
    assert!(mails.contains("is initialize"), "the end is told, too: {mails}");
    assert!(!log.contains("webhook ") && !log.contains("no mail could"), "{log}");
    check_lines(&routers, pipe);
}

/// Nobody has read them until now.
fn check_lines(routers: &Routers, mut pipe: impl Read) {
    let mut bytes = [0; 4096];
    let length = pipe.read(&mut bytes).expect("lines");
    let lines = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let server = routers.lab.real_server(0).address4(Segment::Server);
    let vip = routers.vip(0);
    for wanted in [
        "INSTANCE \"VI_1\" BACKUP 150\n".to_owned(),
        "INSTANCE \"VI_1\" MASTER 150\nGROUP \"VG_1\" MASTER 0\n".to_owned(),
        "INSTANCE \"VI_1\" STOP 150\nGROUP \"VG_1\" STOP 0\n".to_owned(),
        format!("RS [{server}]:tcp:80 [{vip}]:tcp:80 DOWN\n"),
        format!("VS [{vip}]:tcp:80 DOWN\n"),
    ] {
        assert!(lines.contains(&wanted), "{wanted} in {lines}");
    }
}

/// Takes mail in clear text.
fn take_mail(mut stream: TcpStream, taken: &Mutex<String>) {
    let Ok(lines) = stream.try_clone().map(|stream| BufReader::new(stream).lines()) else {
        return;
    };
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).expect("a word");
    let mut inside = false;
    say("220 mail");
    for line in lines.map_while(Result::ok) {
        match line.as_str() {
            "." => {
                inside = false;
                say("250 taken");
            }
            _ if inside => *taken.lock().unwrap() += &format!("{line}\n"),
            "DATA" => {
                inside = true;
                say("354 go");
            }
            "QUIT" => return,
            _ => say("250 yes"),
        }
    }
}

#[test]
fn an_upgrade_tells_what_waits_and_says_what_it_could_not_tell_and_leaves_no_process_behind() {
    let site = Site::build("notify-upgrade", Forwarding::Nat, Family::V4, 1, 1);
    let (director, told) = (site.director(), site.lab.client(0));
    let address = IpAddr::from(told.address4(Segment::Client));
    let mails = Arc::new(Mutex::new(String::new()));
    let taken = Arc::clone(&mails);
    let _mail = Odd::start(told, 25, move |stream| take_mail(stream, &taken));
    let _hook = Odd::silent(told, 80);
    // The one that is asked where the second webhook is does not know for long.
    let getent = director.directory().join("getent");
    fs::write(&getent, "#!/bin/sh\nexec sleep 4321\n").expect("a program");
    fs::set_permissions(&getent, Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", director.directory().display());
    let text = format!(
        "[notify.mail]\nserver = \"{address}\"\ntls = \"off\"\nfrom = \"ipvsd@example.com\"\n\
         to = \"ops@example.com\"\ngather = \"1h\"\ntimeout = \"10s\"\n\
         [[notify.webhook]]\nurl = \"http://{address}/hook\"\ntimeout = \"1m\"\n\
         [[notify.webhook]]\nurl = \"http://told.example/hook\"\ntimeout = \"1m\"\n\
         {}check = [{{ type = \"tcp\", interval = \"300ms\", timeout = \"2s\", fall = 1 }}]\n",
        site.virtual_server("web", &format!("address = \"{}:80\"", site.vip(0)), "", &[(0, 1)])
    );
    let file = site.configure(&text).display().to_string();
    let command = [IPVSD, "run", "-c", &file];
    let mut daemon = Daemon {
        process: director.spawn_with(&command, &[("PATH", &path)]).expect("ipvsd starts"),
    };
    daemon.wait_for("ready:");
    let pid = daemon.process.id().to_string();
    let children = || {
        let found = director.exec(&["ps", "-o", "stat=,args=", "--ppid", &pid]).expect("ps");
        found.stdout
    };
    wait_until("the second webhook is looked for", SOON, || {
        children().contains("sleep 4321")
    })
    .unwrap_or_else(|problem| panic!("{problem}: {}\n{}", children(), daemon.process.log()));
    assert_eq!(*mails.lock().unwrap(), "");

    let upgraded = site.ipvsd(&["upgrade"]);
    let log = daemon.process.log();
    assert_eq!(upgraded.code(), 0, "{}\n{log}", upgraded.stderr);
    let mails = mails.lock().unwrap().clone();
    assert!(
        mails.contains("Subject: [ipvsd ") && mails.contains("is down"),
        "{mails}\n{log}"
    );
    for webhook in [format!("http://{address}:80"), "http://told.example:80".to_owned()] {
        let said = log
            .lines()
            .filter(|line| line.contains("not told in 4 s") && line.ends_with(&format!(" for webhook {webhook}")));
        assert_eq!(said.count(), 1, "{webhook}: {log}");
    }
    assert!(!log.contains("by way of"), "{log}");
    assert_eq!(children(), "", "{log}");
}
