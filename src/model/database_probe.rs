//! Settings of probes that log in to something: databases and directories.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Pattern, TlsSettings};

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password; without one none is sent.
    pub password: Option<Secret>,
}

/// A password, or the file that has it in its first line. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Text(String),
    /// The path of a file.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("(hidden)"),
            Self::File(path) => write!(f, "(in {})", path.display()),
        }
    }
}

/// A query, and what the first column of its first row has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// One statement of SQL.
    pub text: String,
    /// What it has to answer; `None` for anything, also no row at all.
    pub expect: Option<ValueTest>,
}

/// What a value has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueTest {
    /// This text.
    Is(String),
    /// A text with a match in it.
    Matches(Pattern),
}

/// A probe of MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// Who logs in; `None` to be content with a server that answers at all.
    pub login: Option<Login>,
    /// The database to log in to.
    pub database: Option<String>,
    /// A query of the user's own.
    pub query: Option<Query>,
    /// Whether it has to be read-only, or must not be.
    pub read_only: Option<bool>,
    /// It has to be a replica, and at most so far behind.
    pub replication_lag: Option<Duration>,
}

/// A probe of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// Who logs in; `None` to be content with a server that answers at all.
    pub login: Option<Login>,
    /// The database to log in to; `None` for the one that is called like the user.
    pub database: Option<String>,
    /// A query of the user's own.
    pub query: Option<Query>,
    /// Whether it has to be read-only, or must not be.
    pub read_only: Option<bool>,
}

/// A probe of Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisProbe {
    /// Over TLS, and how.
    pub tls: Option<TlsSettings>,
    /// The user of an ACL; `None` for the default user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The role that it has to have.
    pub role: Option<RedisRole>,
}

/// The role of a Redis server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisRole {
    /// Others replicate from it, or could.
    Master,
    /// It replicates, and its link to the master is up.
    Replica,
}
