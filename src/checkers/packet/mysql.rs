//! The client/server protocol of MySQL and MariaDB, as far as a login and a query of one value go.
//!
//! Source: "Client/Server Protocol" of the MySQL source documentation, and MariaDB's. Packets have a header of four
//! bytes: the length of what follows, least byte first, and a number that counts within one exchange.

use sha1::Sha1;
use sha2::{Digest, Sha256};

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;

const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
/// utf8_general_ci, which every version knows.
const CHARSET: u8 = 33;
/// The most that one packet to us may have, in bytes.
const MAX_PACKET: u32 = 1 << 20;

/// Why bytes are no packet of this protocol.
pub type Malformed = &'static str;

/// One packet at the start of `bytes`: its number, its content, and how long it is with its header; `None` where there
/// is more to come.
pub fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [a, b, c, number] = *bytes.first_chunk()?;
    let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
    let content = bytes.get(4..4 + length)?;
    Some((number, content, 4 + length))
}

/// A packet with its header.
pub fn frame(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(0).to_le_bytes();
    let mut bytes = vec![length[0], length[1], length[2], number];
    bytes.extend_from_slice(content);
    bytes
}

/// What a server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// For example `10.11.6-MariaDB`.
    pub version: String,
    /// What the password is scrambled with.
    pub nonce: Vec<u8>,
    /// The server's capabilities.
    pub capabilities: u32,
    /// How it wants the password.
    pub plugin: String,
}

impl Greeting {
    /// Reads the content of the first packet (protocol version 10), unless it is an error.
    pub fn read(content: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(content);
        if rest.byte()? != 10 {
            return Err("the greeting is not of protocol version 10");
        }
        let version = String::from_utf8_lossy(rest.until_nul()?).into_owned();
        rest.take(4)?;
        let mut nonce = rest.take(8)?.to_vec();
        rest.take(1)?;
        let low = rest.take(2)?;
        let mut capabilities = u32::from(low[0]) | u32::from(low[1]) << 8;
        let mut plugin = "mysql_native_password".to_owned();
        if !rest.0.is_empty() {
            rest.take(3)?;
            let high = rest.take(2)?;
            capabilities |= u32::from(high[0]) << 16 | u32::from(high[1]) << 24;
            let length = usize::from(rest.byte()?).saturating_sub(8).max(13);
            rest.take(10)?;
            let second = rest.take(length.min(rest.0.len()))?;
            nonce.extend_from_slice(second.strip_suffix(&[0]).unwrap_or(second));
            if capabilities & PLUGIN_AUTH != 0 && !rest.0.is_empty() {
                let name = rest.0.split(|byte| *byte == 0).next().unwrap_or_default();
                plugin = String::from_utf8_lossy(name).into_owned();
            }
        }
        Ok(Self {
            version,
            nonce,
            capabilities,
            plugin,
        })
    }

    /// Whether it speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.capabilities & SSL != 0
    }
}

fn capabilities(tls: bool, database: bool) -> u32 {
    let mut flags = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;
    if tls {
        flags |= SSL;
    }
    if database {
        flags |= CONNECT_WITH_DB;
    }
    flags
}

/// The content of the packet that asks for TLS.
pub fn tls_request(database: bool) -> Vec<u8> {
    let mut content = capabilities(true, database).to_le_bytes().to_vec();
    content.extend(MAX_PACKET.to_le_bytes());
    content.push(CHARSET);
    content.extend([0; 23]);
    content
}

/// The content of the packet that logs in.
pub fn login(tls: bool, user: &str, scrambled: &[u8], database: Option<&str>, plugin: &str) -> Vec<u8> {
    let mut content = tls_request(database.is_some());
    content[..4].copy_from_slice(&capabilities(tls, database.is_some()).to_le_bytes());
    content.extend(user.bytes().filter(|byte| *byte != 0));
    content.push(0);
    content.push(u8::try_from(scrambled.len()).unwrap_or(0));
    content.extend_from_slice(scrambled);
    if let Some(database) = database {
        content.extend(database.bytes().filter(|byte| *byte != 0));
        content.push(0);
    }
    content.extend(plugin.bytes());
    content.push(0);
    content
}

/// A password as a plugin wants it over an open connection; `None` for a plugin that is not known.
pub fn scramble(plugin: &str, password: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        _ if password.is_empty() => Some(Vec::new()),
        "mysql_native_password" => {
            let first = Sha1::digest(password);
            let mut second = Sha1::new();
            second.update(nonce);
            second.update(Sha1::digest(first));
            Some(
                first
                    .iter()
                    .zip(second.finalize())
                    .map(|(left, right)| left ^ right)
                    .collect(),
            )
        }
        "caching_sha2_password" => {
            let first = Sha256::digest(password);
            let mut second = Sha256::new();
            second.update(Sha256::digest(first));
            second.update(nonce);
            Some(
                first
                    .iter()
                    .zip(second.finalize())
                    .map(|(left, right)| left ^ right)
                    .collect(),
            )
        }
        _ => None,
    }
}

/// What a server answers to a login or a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok,
    /// Refused: the error's number and the server's words.
    Error(u16, String),
    /// The password is wanted for another plugin, with this nonce.
    SwitchPlugin(String, Vec<u8>),
    /// More of a login: of `caching_sha2_password`, 3 for "fast and good", 4 for "in full, please".
    MoreLogin(Vec<u8>),
    /// Rows follow, with so many columns.
    Columns(u64),
}

impl Answer {
    /// Reads an answer to a login.
    pub fn to_login(content: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(content);
        match rest.byte()? {
            0 => Ok(Self::Ok),
            0xff => error(rest),
            1 => Ok(Self::MoreLogin(rest.0.to_vec())),
            0xfe => {
                let plugin = String::from_utf8_lossy(rest.until_nul()?).into_owned();
                let nonce = rest.0.strip_suffix(&[0]).unwrap_or(rest.0).to_vec();
                Ok(Self::SwitchPlugin(plugin, nonce))
            }
            _ => Err("the answer to the login is none"),
        }
    }

    /// Reads an answer to a query.
    pub fn to_query(content: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(content);
        match content.first() {
            Some(0) => Ok(Self::Ok),
            Some(0xff) => {
                rest.take(1)?;
                error(rest)
            }
            Some(0xfb) => Err("it asks for a file"),
            _ => rest.length()?.map(Self::Columns).ok_or("the number of columns is none"),
        }
    }
}

/// The number and the words of an error whose first byte was taken.
fn error(mut rest: Rest<'_>) -> Result<Answer, Malformed> {
    let number = rest.take(2)?;
    let number = u16::from(number[0]) | u16::from(number[1]) << 8;
    // A state of five letters stands before the words, except in errors before a greeting.
    let words = match rest.0.strip_prefix(b"#") {
        Some(after) => after.get(5..).unwrap_or_default(),
        None => rest.0,
    };
    Ok(Answer::Error(number, String::from_utf8_lossy(words).into_owned()))
}

/// The number and the words of an error, if this is one.
pub fn error_in(content: &[u8]) -> Option<(u16, String)> {
    match content.split_first() {
        Some((0xff, rest)) => match error(Rest(rest)) {
            Ok(Answer::Error(number, words)) => Some((number, words)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether this is the packet behind the columns or the rows.
pub fn is_end(content: &[u8]) -> bool {
    content.first() == Some(&0xfe) && content.len() < 9
}

/// The name of a column.
pub fn column_name(content: &[u8]) -> Result<String, Malformed> {
    let mut rest = Rest(content);
    for _catalog_schema_table_and_its_own_name in 0..4 {
        rest.text()?;
    }
    let name = rest.text()?.unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// The values of a row of so many columns; `None` for NULL.
pub fn row(content: &[u8], columns: usize) -> Result<Vec<Option<String>>, Malformed> {
    let mut rest = Rest(content);
    let mut values = Vec::new();
    for _ in 0..columns {
        values.push(rest.text()?.map(|text| String::from_utf8_lossy(text).into_owned()));
    }
    Ok(values)
}

/// The content of a query.
pub fn query(text: &str) -> Vec<u8> {
    [&[COM_QUERY], text.as_bytes()].concat()
}

/// The content of a farewell.
pub fn quit() -> Vec<u8> {
    vec![COM_QUIT]
}

/// What is left of a packet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a packet is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn until_nul(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or("a text has no end")?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// A number of one to nine bytes; `None` for NULL.
    fn length(&mut self) -> Result<Option<u64>, Malformed> {
        let width = match self.byte()? {
            0xfb => return Ok(None),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            0xff => return Err("a length is none"),
            short => return Ok(Some(u64::from(short))),
        };
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    fn text(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.length()? {
            None => Ok(None),
            Some(length) => self
                .take(usize::try_from(length).map_err(|_| "a text is too long")?)
                .map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREETING: &[u8] =
        b"\x0a5.5.5-10.11.6-MariaDB\x00\x2a\x00\x00\x00abcdefgh\x00\xfe\xf7\x21\x02\x00\xff\x81\x15\
        \x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00ijklmnopqrst\x00mysql_native_password\x00";

    #[test]
    fn a_greeting_is_read() {
        let greeting = Greeting::read(GREETING).expect("good");
        assert_eq!(greeting.version, "5.5.5-10.11.6-MariaDB");
        assert_eq!(greeting.nonce, b"abcdefghijklmnopqrst");
        assert_eq!(greeting.plugin, "mysql_native_password");
        assert!(!greeting.has_tls());
        assert!(Greeting::read(b"\x09old").is_err());
    }

    #[test]
    fn passwords_are_scrambled_as_the_plugins_want_it() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let nonce = b"abcdefghijklmnopqrst";
        // From hashlib of Python: p = sha1(b"secret"); p ^ sha1(nonce + sha1(p)), and the like with sha256.
        let native = scramble("mysql_native_password", b"secret", nonce).expect("known");
        let caching = scramble("caching_sha2_password", b"secret", nonce).expect("known");
        assert_eq!((hex(native), hex(caching)), (NATIVE.to_owned(), CACHING.to_owned()));
        assert_eq!(scramble("mysql_native_password", b"", nonce), Some(Vec::new()));
        assert_eq!(scramble("auth_gssapi_client", b"secret", nonce), None);
    }

    const NATIVE: &str = "8817c50fa779daef010ee7577825b0847df9842e";
    const CACHING: &str = "c76e2898612a4cf042c77fa8c4702c4c64c0c2c557c53c4d75595aaa6abae809";

    #[test]
    fn answers_are_read() {
        assert_eq!(Answer::to_login(&[0, 0, 0]), Ok(Answer::Ok));
        let denied = b"\xff\x15\x04#28000Access denied";
        assert_eq!(
            Answer::to_login(denied),
            Ok(Answer::Error(1045, "Access denied".to_owned()))
        );
        assert_eq!(
            error_in(b"\xff\x10\x04Too many connections"),
            Some((1040, "Too many connections".to_owned()))
        );
        assert_eq!(
            Answer::to_login(b"\xfecaching_sha2_password\x00nonce\x00"),
            Ok(Answer::SwitchPlugin(
                "caching_sha2_password".to_owned(),
                b"nonce".to_vec()
            ))
        );
        assert_eq!(Answer::to_query(&[2]), Ok(Answer::Columns(2)));
        assert_eq!(column_name(b"\x03def\x00\x00\x00\x01x\x00"), Ok("x".to_owned()));
        assert_eq!(
            row(b"\x01a\xfb\x00", 3),
            Ok(vec![Some("a".to_owned()), None, Some(String::new())])
        );
        assert!(is_end(&[0xfe, 0, 0, 2, 0]) && !is_end(&[0; 5]));
    }

    #[test]
    fn packets_are_framed() {
        let framed = frame(3, b"abc");
        assert_eq!(packet(&framed), Some((3, &b"abc"[..], 7)));
        assert_eq!(packet(&framed[..6]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_read(bytes: Vec<u8>, columns in 0usize..5) {
            let _ = (packet(&bytes), Greeting::read(&bytes), Answer::to_login(&bytes), Answer::to_query(&bytes));
            let _ = (error_in(&bytes), column_name(&bytes), row(&bytes, columns), is_end(&bytes));
        }

        #[test]
        fn no_greeting_is_too_short_to_read(end in 0..GREETING.len()) {
            let _ = Greeting::read(&GREETING[..end]);
        }
    }
}
