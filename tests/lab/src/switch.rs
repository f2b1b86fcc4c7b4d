//! The segments: bridges in a namespace of their own, whose ports are the far ends of the hosts' cables.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::wait_until;

#[derive(Debug)]
pub(crate) struct Switch {
    namespace: Namespace,
}

impl Switch {
    pub(crate) fn create(name: &str) -> Result<Self> {
        Ok(Self {
            namespace: Namespace::create(name)?,
        })
    }

    pub(crate) fn name(&self) -> &str {
        self.namespace.name()
    }

    pub(crate) fn ip(&self, lines: &[String]) -> Result<()> {
        self.namespace.enter(|| ip_batch(lines))?
    }

    pub(crate) fn set_port(&self, port: &str, state: &str) -> Result<()> {
        self.ip(&[format!("link set {port} {state}")])
    }

    pub(crate) fn drop_tcp_port(&self, port: &str, tcp_port: u16) -> Result<()> {
        self.nft(&format!(
            "table bridge {port} {{ chain forward {{ type filter hook forward priority 0; \
             oifname \"{port}\" ether type ip tcp dport {tcp_port} drop; \
             oifname \"{port}\" ether type ip6 tcp dport {tcp_port} drop; }}; }}"
        ))
    }

    /// From the port and to it, over IPv4 and IPv6 without extension headers.
    pub(crate) fn drop_protocol(&self, port: &str, protocol: u8) -> Result<()> {
        let rules = ["iifname", "oifname"].map(|way| {
            format!(
                "{way} \"{port}\" ether type ip ip protocol {protocol} drop; \
                 {way} \"{port}\" ether type ip6 ip6 nexthdr {protocol} drop; "
            )
        });
        let rules = rules.concat();
        self.nft(&format!(
            "table bridge {port} {{ chain forward {{ type filter hook forward priority 0; {rules}}}; }}"
        ))
    }

    pub(crate) fn drop_nothing(&self, port: &str) -> Result<()> {
        self.nft(&format!("delete table bridge {port}"))
    }

    fn nft(&self, rule: &str) -> Result<()> {
        let output = self
            .namespace
            .enter(|| Command::new("nft").arg(rule).output())?
            .context("cannot start nft")?;
        if !output.status.success() {
            bail!("nft refuses {rule}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// A port forwards only a moment after it came up, on user-mode Linux up to a second; before, frames are lost.
    pub(crate) fn wait_until_forwarding(&self, ports: &[&str]) -> Result<()> {
        let mut seen = String::new();
        wait_until("the switch's ports forward", Duration::from_secs(10), || {
            seen = self.namespace.enter(bridge_links).unwrap_or_default();
            ports.iter().all(|port| {
                let name = format!(" {port}@");
                seen.lines()
                    .any(|line| line.contains(&name) && line.contains("state forwarding"))
            })
        })
        .with_context(|| format!("ports {ports:?}, and `bridge link` says:\n{seen}"))
    }
}

fn bridge_links() -> String {
    let output = Command::new("bridge").arg("link").output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Runs lines of `ip -batch` in the namespace of the calling thread.
pub(crate) fn ip_batch(lines: &[String]) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start ip; outside of the lab? (tests/lab/run)")?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(format!("{}\n", lines.join("\n")).as_bytes())
            .context("cannot write to ip")?;
    }
    let output = child.wait_with_output().context("cannot wait for ip")?;
    if !output.status.success() {
        bail!(
            "ip failed: {}of:\n{}",
            String::from_utf8_lossy(&output.stderr),
            lines.join("\n")
        );
    }
    Ok(())
}
