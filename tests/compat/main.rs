//! One suite, two subjects: Debian's ipvsadm and `ipvsd` called by that name, on one kernel.
//!
//! What both write, how they end and what they leave in the kernel has to agree. `case.rs` says how a case is
//! written, `compare.rs` what agreement is. `make test-full` runs it inside the lab;
//! `COMPAT_SUBJECT=original tests/lab/suite --target compat` compares the original with itself.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic, with what was printed before, is how a test reports"
)]

mod case;
mod check;
mod compare;
mod matrix;
mod options;
mod pair;
mod process;
mod random;
mod resident;
mod subject;
mod table;
mod traffic;
mod world;

/// One test a file of cases, named alike.
macro_rules! files {
    ($($name:ident)*) => {
        mod cases {
            $(
                #[test]
                fn $name() {
                    crate::check::check_file(concat!(stringify!($name), ".case"));
                }
            )*
        }

        const FILES: &[&str] = &[$(concat!(stringify!($name), ".case")),*];
    };
}

files! {
    addresses combinations daemons empty fwmarks listings names persistence restore schedulers servers services
    timeouts tunnels words zero
}

#[test]
fn there_is_a_test_for_every_file_of_cases() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/cases");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("cases")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, FILES);
}
