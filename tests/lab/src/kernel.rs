//! Whether this process stands on a lab kernel, and which one that is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Panics with the remedy unless this process runs in the lab on a kernel with IPVS.
///
/// Outside of the lab it panics even where the kernel has IPVS: that table may be somebody's production.
pub fn require_kernel() {
    let remedy = "run `make test`, or this binary through `tests/lab/run -- BINARY` \
                  (KERNEL=host for the running kernel's IPVS)";
    match std::env::var("LAB") {
        Err(_) => panic!("this test needs the lab's kernel with IPVS: {remedy}"),
        Ok(_) if !has_ipvs() => panic!("no IPVS in this kernel, and `modprobe ip_vs` does not bring it: {remedy}"),
        Ok(_) => {}
    }
}

/// The release of the running kernel, such as `6.1.176`.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

fn has_ipvs() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let table = Path::new("/proc/net/ip_vs");
        if !table.exists() {
            // Its outcome is read from the table's file.
            let _ = Command::new("modprobe").arg("ip_vs").stderr(Stdio::null()).status();
        }
        table.exists()
    })
}
