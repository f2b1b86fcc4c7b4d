//! The `mysql`, `postgresql` and `redis` types.

use std::time::Duration;

use super::super::reader::{Item, Reader};
use super::super::scope::Scope;
use super::super::tree::Table;
use super::{optional, path, pattern, tls};
use crate::model::{Login, MysqlProbe, PostgresqlProbe, ProbeKind, Query, RedisProbe, RedisRole, Secret, ValueTest};

const LONGEST_TEXT: usize = 4096;
const LONGEST_LAG: Duration = Duration::from_secs(86_400);
const ROLES: [(&str, RedisRole); 2] = [("master", RedisRole::Master), ("replica", RedisRole::Replica)];

pub(super) fn read_mysql(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let tls = tls::read_optional(reader, table, at, None);
    let [lag] = reader.pick(table, Scope::MysqlKeys);
    let replication_lag = optional(lag, |item| {
        reader.duration(item, "replication_lag", Duration::ZERO..=LONGEST_LAG)
    });
    let login = read_login(reader, table);
    let questions = read_questions(reader, table, lag);
    let Questions {
        database,
        query,
        read_only,
    } = questions?;
    Some(ProbeKind::Mysql(MysqlProbe {
        tls: tls?,
        login: login?,
        database,
        query,
        read_only,
        replication_lag: replication_lag?,
    }))
}

pub(super) fn read_postgresql(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let tls = tls::read_optional(reader, table, at, None);
    let login = read_login(reader, table);
    let questions = read_questions(reader, table, None);
    let Questions {
        database,
        query,
        read_only,
    } = questions?;
    Some(ProbeKind::Postgresql(PostgresqlProbe {
        tls: tls?,
        login: login?,
        database,
        query,
        read_only,
    }))
}

pub(super) fn read_redis(reader: &mut Reader, table: &Table<'_>, at: usize) -> Option<ProbeKind> {
    let tls = tls::read_optional(reader, table, at, None);
    let [role] = reader.pick(table, Scope::RedisKeys);
    let role = optional(role, |item| reader.word(item, "role", &ROLES));
    let [user_item, _, _] = reader.pick(table, Scope::LoginKeys);
    let user = optional(user_item, |item| text(reader, item, "user"));
    let password = read_secret(reader, table);
    let (user, password) = (user?, password?);
    if let (Some(item), None) = (user_item, &password) {
        reader.error(
            item.span().start,
            "`user` has no effect without a password",
            "add `password` or `password_file`",
        );
        return None;
    }
    Some(ProbeKind::Redis(RedisProbe {
        tls: tls?,
        user,
        password,
        role: role?,
    }))
}

/// A text that is neither empty nor long nor has a NUL in it.
pub(super) fn text(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<String> {
    let text = reader.string(item, key)?;
    let problem = if text.is_empty() {
        "is empty"
    } else if text.contains('\0') {
        "has a NUL in it"
    } else if text.len() > LONGEST_TEXT {
        "is longer than 4096 bytes"
    } else {
        return Some(text.to_owned());
    };
    reader.error(item.span().start, format!("`{key}` {problem}"), "");
    None
}

/// Who logs in; the outer `None` after a problem.
pub(super) fn read_login(reader: &mut Reader, table: &Table<'_>) -> Option<Option<Login>> {
    let [user, password, password_file] = reader.pick(table, Scope::LoginKeys);
    let found = optional(user, |item| text(reader, item, "user"));
    let secret = read_secret(reader, table);
    match (found?, secret?) {
        (Some(user), password) => Some(Some(Login { user, password })),
        (None, None) => Some(None),
        (None, Some(_)) => {
            let item = password.or(password_file);
            let at = item.map_or(0, |item| item.span().start);
            reader.error(at, "there is a password and no user", "add `user`");
            None
        }
    }
}

fn read_secret(reader: &mut Reader, table: &Table<'_>) -> Option<Option<Secret>> {
    let [_, password, password_file] = reader.pick(table, Scope::LoginKeys);
    let written = optional(password, |item| text(reader, item, "password"));
    let file = optional(password_file, |item| path(reader, item, "password_file"));
    match (written?, file?) {
        (Some(_), Some(_)) => {
            let at = password_file.map_or(0, |item| item.span().start);
            reader.error(
                at,
                "`password` and `password_file` are both there",
                "take one of them out",
            );
            None
        }
        (written, file) => Some(written.map(Secret::Text).or(file.map(Secret::File))),
    }
}

struct Questions {
    database: Option<String>,
    query: Option<Query>,
    read_only: Option<bool>,
}

/// What is asked once the login has succeeded; `more` is another key that asks.
fn read_questions(reader: &mut Reader, table: &Table<'_>, more: Option<&Item<'_>>) -> Option<Questions> {
    let [database, query, expect, expect_regex, read_only] = reader.pick(table, Scope::SqlKeys);
    let [user, _, _] = reader.pick(table, Scope::LoginKeys);
    let found_database = optional(database, |item| text(reader, item, "database"));
    let found_query = optional(query, |item| text(reader, item, "query"));
    let is = optional(expect, |item| reader.string(item, "expect").map(str::to_owned));
    let matches = optional(expect_regex, |item| pattern(reader, item, "expect_regex"));
    let found_read_only = optional(read_only, |item| reader.boolean(item, "read_only"));
    if let (Some(item), None) = (query.or(read_only).or(more).or(database), user) {
        reader.error(item.span().start, "nobody logs in to ask", "add `user`");
        return None;
    }
    if let (Some(item), None) = (expect.or(expect_regex), query) {
        reader.error(
            item.span().start,
            "nothing is asked that has an answer",
            "add query = \"SELECT 1\"",
        );
        return None;
    }
    if let (Some(_), Some(item)) = (expect, expect_regex) {
        reader.error(
            item.span().start,
            "`expect` and `expect_regex` are both there",
            "take one of them out",
        );
        return None;
    }
    let expect = is?.map(ValueTest::Is).or(matches?.map(ValueTest::Matches));
    Some(Questions {
        database: found_database?,
        query: found_query?.map(|text| Query { text, expect }),
        read_only: found_read_only?,
    })
}
