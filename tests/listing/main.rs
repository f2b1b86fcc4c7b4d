//! Listings against expected output, one folder a case under `tests/listing/cases`.
//!
//! A case holds documents in the schema of `docs/json.md` (`table.json`, `connections.json`, `daemons.json`,
//! `timeouts.json`) and what each view of them prints. `table.json` is read by its documented members and written
//! again: it must come out as it went in, which is what holds the schema. `names.json` gives host and port names for
//! the files `*-names.txt`. `UPDATE_EXPECT=1 cargo test --test listing` renews the expected files.

mod documents;

use std::fs;
use std::path::{Path, PathBuf};

use ipvsd::listing::{
    Names, NeededNames, Order, View, json_connections, json_daemons, json_services, json_timeouts, render_connections,
    render_daemons, render_services, render_timeouts,
};

const VIEWS: [(&str, View); 8] = [
    ("plain", View::Plain),
    ("stats", View::Statistics { exact: false }),
    ("stats-exact", View::Statistics { exact: true }),
    ("rate", View::Rates { exact: false }),
    ("rate-exact", View::Rates { exact: true }),
    ("thresholds", View::Thresholds),
    ("persistent-conn", View::PersistentConnections),
    ("tun-info", View::TunnelInfo),
];

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/listing/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    cases.sort();
    cases
}

fn rendered(render: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    render(&mut out);
    String::from_utf8(out).expect("listings are UTF-8")
}

/// Compares with the expected file, or renews it.
fn expect(file: &Path, actual: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(file, actual).expect("the expected file can be written");
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(
        expected == actual,
        "{} differs (UPDATE_EXPECT=1 renews it). Expected:\n{expected}\nactual:\n{actual}",
        file.display()
    );
}

fn document(case: &Path, name: &str) -> Option<serde_json::Value> {
    let path = case.join(name);
    let text = fs::read_to_string(&path).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn every_view_of_a_table_prints_what_is_expected() {
    let mut tables = 0;
    for case in cases() {
        let Some(table) = document(&case, "table.json") else {
            continue;
        };
        tables += 1;
        let (info, services) = documents::services(&table);
        let numeric = Names::none();
        for (name, view) in VIEWS {
            let text = rendered(|out| render_services(out, info, &services, view, Order::Sorted, &numeric));
            expect(&case.join(format!("{name}.txt")), &text);
        }
        let text = rendered(|out| render_services(out, info, &services, View::Plain, Order::Kernel, &numeric));
        expect(&case.join("nosort.txt"), &text);
        let one = &services[..services.len().min(1)];
        let text = rendered(|out| render_services(out, None, one, View::Plain, Order::Sorted, &numeric));
        expect(&case.join("first-service.txt"), &text);
        if let Some(names) = document(&case, "names.json") {
            let names = documents::names(&names, NeededNames::of_services(&services));
            for (name, view) in VIEWS {
                let text = rendered(|out| render_services(out, info, &services, view, Order::Sorted, &names));
                expect(&case.join(format!("{name}-names.txt")), &text);
            }
        }
        let written = rendered(|out| json_services(out, info, &services, Order::Kernel));
        expect(&case.join("table.json"), &written);
    }
    assert!(tables >= 3, "only {tables} cases have a table");
}

#[test]
fn connections_print_what_is_expected() {
    let mut tables = 0;
    for case in cases() {
        let Some(table) = document(&case, "connections.json") else {
            continue;
        };
        tables += 1;
        let connections = documents::connections(&table);
        let numeric = Names::none();
        for (name, persistence) in [("connections", false), ("connections-persistent", true)] {
            let text = rendered(|out| render_connections(out, &connections, persistence, &numeric));
            expect(&case.join(format!("{name}.txt")), &text);
        }
        if let Some(names) = document(&case, "names.json") {
            let names = documents::names(&names, NeededNames::of_connections(&connections));
            let text = rendered(|out| render_connections(out, &connections, false, &names));
            expect(&case.join("connections-names.txt"), &text);
        }
        let written = rendered(|out| json_connections(out, &connections));
        expect(&case.join("connections.json"), &written);
    }
    assert!(tables >= 1, "no case has connections");
}

#[test]
fn timeouts_and_sync_daemons_print_what_is_expected() {
    let mut settings = 0;
    for case in cases() {
        if let Some(table) = document(&case, "daemons.json") {
            settings += 1;
            let daemons = documents::daemons(&table);
            expect(
                &case.join("daemons.txt"),
                &rendered(|out| render_daemons(out, &daemons)),
            );
            expect(&case.join("daemons.json"), &rendered(|out| json_daemons(out, &daemons)));
        }
        if let Some(table) = document(&case, "timeouts.json") {
            settings += 1;
            let timeouts = documents::timeouts(&table);
            expect(
                &case.join("timeouts.txt"),
                &rendered(|out| render_timeouts(out, timeouts)),
            );
            expect(
                &case.join("timeouts.json"),
                &rendered(|out| json_timeouts(out, timeouts)),
            );
        }
    }
    assert!(settings >= 2, "no case has daemons and timeouts");
}

#[test]
fn the_description_of_the_schema_names_every_member() {
    let description = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md")).expect("docs");
    assert!(description.contains(&format!("`schema` is {}", ipvsd::listing::SCHEMA)));
    for case in cases() {
        for name in ["table.json", "connections.json", "daemons.json", "timeouts.json"] {
            if let Some(document) = document(&case, name) {
                documents::for_each_member(&document, &mut |member| {
                    assert!(
                        description.contains(&format!("`{member}`")),
                        "docs/json.md does not tell of {member}"
                    );
                });
            }
        }
    }
}
