//! Which programs run on this host, by the names that the kernel has of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::FoundProcess;

/// The processes whose name (`/proc/PID/comm`) is one of these, in the order of their numbers. One that ends meanwhile
/// is passed over; none where `/proc` is not mounted.
pub fn running(names: &[&str]) -> Vec<FoundProcess> {
    let namespace = |path: &Path| fs::metadata(path.join("ns/net")).ok().map(|found| found.ino());
    let own = namespace(Path::new("/proc/self"));
    let mut found: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path();
            let comm = fs::read_to_string(path.join("comm")).ok()?;
            let name = comm.trim_end();
            names.contains(&name).then(|| FoundProcess {
                name: name.to_owned(),
                pid,
                // What cannot be told is not ruled out.
                here: namespace(&path).is_none_or(|theirs| own.is_none_or(|own| own == theirs)),
            })
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_name() {
        let comm = fs::read_to_string("/proc/self/comm").expect("a name");
        let found = running(&[comm.trim_end()]);
        let own = i32::try_from(std::process::id()).expect("a number");
        assert!(
            found.iter().any(|process| process.pid == own && process.here),
            "{found:?}"
        );
        assert_eq!(running(&["no such program"]), []);
    }
}
