//! What operators want of servers, kept over a restart: a file beside the record.
//!
//! Written whole and renamed into place with every change, and now and then while a daemon runs, so that it tells when
//! one was last there: wishes that nobody has stood for in a week are no longer anybody's intent. What a later version has
//! put down beside is passed over. A file that cannot be followed is left alone until the next change, kept under another
//! name then, and said.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::kept;
use super::record::Record;
use crate::director::{Wish, Wishlist, Words};
use crate::model::{PeerWord, UnixTime};
use crate::net::namespace::NamespaceId;

const NAME: &str = "operator.json";

/// What a file that could not be followed is called once there is another one.
const REFUSED: &str = "operator.json.refused";
const VERSION: u32 = 1;

/// How old a file may be to be followed.
const OLDEST: Duration = Duration::from_secs(7 * 86_400);

/// How often a running daemon renews the file's age.
pub const KEPT_FRESH: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct File {
    version: u32,
    namespace: NamespaceId,
    /// When a daemon last stood for it.
    saved: UnixTime,
    wishes: Vec<Wish>,
    /// What was said for good on this director and the other one. A version that knew of no other director has put none
    /// down.
    #[serde(default)]
    words: Option<Vec<PeerWord>>,
}

/// What operators wanted of an earlier process.
#[derive(Debug, Default)]
pub struct Remembered {
    /// What holds.
    pub wishes: Vec<Wish>,
    /// What was said on this director and the other one; `None` where the file was written by a version that put none down.
    pub words: Option<Vec<PeerWord>>,
}

#[derive(Serialize)]
struct Draft<'a> {
    version: u32,
    namespace: &'a NamespaceId,
    saved: UnixTime,
    wishes: Vec<&'a Wish>,
    /// Also where there are none: that is not the same as a file of a version that knew of none.
    words: Vec<&'a PeerWord>,
}

/// The wishes in the text of their file; none where it is one of another namespace.
///
/// # Errors
/// Where it is no such file, one of another version, or one of wishes that is too old.
pub fn parse(text: &[u8], namespace: &NamespaceId, now: UnixTime) -> anyhow::Result<Remembered> {
    let file: File = serde_json::from_slice(text)?;
    anyhow::ensure!(
        file.version == VERSION,
        "its version is {}, this program writes {VERSION}",
        file.version
    );
    if file.namespace != *namespace {
        return Ok(Remembered::default());
    }
    let File {
        saved, wishes, words, ..
    } = file;
    if now.since(saved) <= OLDEST {
        return Ok(Remembered { wishes, words });
    }
    // Where nothing was wanted there is nothing to say again.
    anyhow::ensure!(
        wishes.is_empty(),
        "no ipvsd has run since {saved}, more than a week ago"
    );
    Ok(Remembered::default())
}

/// The file of one network namespace.
#[derive(Debug)]
pub(super) struct WishesFile {
    path: PathBuf,
    /// Where a file is put that could not be followed.
    aside: PathBuf,
    namespace: NamespaceId,
    /// What is there could not be followed, and may be worth something to somebody.
    refused: Cell<bool>,
}

impl WishesFile {
    pub(super) fn beside(record: &Record) -> Self {
        Self {
            path: record.beside(NAME),
            aside: record.beside(REFUSED),
            namespace: record.namespace().clone(),
            refused: Cell::new(false),
        }
    }

    /// Reads the file; no wishes where there is none.
    pub(super) fn load(&self, now: UnixTime) -> anyhow::Result<Remembered> {
        let ignored = || {
            format!(
                "cannot follow {}: servers that an operator had drained, put in maintenance or given a weight are as \
                 the configuration has them (say it again: ipvsd drain, maint, weight; the file is kept as {REFUSED} \
                 beside it then)",
                self.path.display()
            )
        };
        let read = kept::read(&self.path);
        self.refused.set(read.is_err());
        let Some(text) = read.with_context(ignored)? else {
            return Ok(Remembered::default());
        };
        let parsed = parse(&text, &self.namespace, now);
        self.refused.set(parsed.is_err());
        parsed.with_context(ignored)
    }

    /// Writes the file, all or nothing; none at all where there are no wishes.
    pub(super) fn save(&self, list: &Wishlist, words: &Words, now: UnixTime) -> anyhow::Result<()> {
        if self.refused.take()
            && let Err(problem) = fs::rename(&self.path, &self.aside)
            && problem.kind() != std::io::ErrorKind::NotFound
        {
            self.refused.set(true);
            return Err(problem).with_context(|| kept::unwritable(&self.aside));
        }
        let wishes: Vec<&Wish> = list.wishes().collect();
        if wishes.is_empty() && words.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(|| kept::unwritable(&self.path))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let file = Draft {
            version: VERSION,
            namespace: &self.namespace,
            saved: now,
            wishes,
            words: words.all().collect(),
        };
        kept::write(&self.path, &serde_json::to_vec(&file)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::director::Now;
    use crate::model::{AdminState, Instant, ServerId};

    fn at(days: u64) -> Now {
        Now {
            instant: Instant::START,
            time: UnixTime::from_millis(1_800_000_000_000 + days * 86_400_000),
        }
    }

    fn list() -> Wishlist {
        let server = ServerId {
            virtual_server: "web".to_owned(),
            server: "192.0.2.11:80".to_owned(),
        };
        let mut list = Wishlist::default();
        let kept = crate::model::Lasting::UntilTakenBack;
        let minute = Some(Duration::from_secs(60));
        list.set_state(&server, AdminState::Drain, minute, kept, "root", at(0));
        list.set_weight(
            &server,
            Some(crate::model::WeightAdvice::Percent(7)),
            kept,
            "root",
            at(0),
        );
        list.add(&server, "192.0.2.11:80", 3, kept, "root", at(0));
        list
    }

    fn file(folder: &tempfile::TempDir) -> WishesFile {
        WishesFile::beside(&Record::open(folder.path()).expect("a namespace"))
    }

    #[test]
    fn what_is_saved_is_loaded_for_a_week() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        assert_eq!(file.load(at(0).time).expect("no file yet").wishes, Vec::new());
        let wishes: Vec<_> = list().wishes().cloned().collect();
        file.save(&list(), &Words::default(), at(0).time).expect("writable");
        assert_eq!(file.load(at(7).time).expect("readable").wishes, wishes);
        let error = format!("{:#}", file.load(at(8).time).expect_err("too old"));
        assert!(
            error.contains("operator.json") && error.contains("more than a week"),
            "{error}"
        );
        // A clock that was set back does not make it old.
        let before = at(0).time.before(Duration::from_secs(86_400));
        assert_eq!(file.load(before).expect("readable").wishes, wishes);
    }

    #[test]
    fn without_wishes_there_is_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        file.save(&list(), &Words::default(), at(0).time).expect("writable");
        file.save(&Wishlist::default(), &Words::default(), at(0).time)
            .expect("writable");
        assert!(!file.path.exists());
        file.save(&Wishlist::default(), &Words::default(), at(0).time)
            .expect("writable again");
    }

    #[test]
    fn what_a_later_version_has_put_down_beside_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        let words = Words::restored(None, &list(), at(0).time);
        file.save(&list(), &words, at(0).time).expect("writable");
        let text = fs::read(&file.path).expect("readable");
        let mut document: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        document["added_later"] = 1.into();
        document["wishes"][0]["added_later"] = 1.into();
        document["wishes"][0]["presence"]["added"]["added_later"] = 1.into();
        document["wishes"][0]["until_reload"] = serde_json::json!({ "added_later": 1 });
        document["words"][0]["added_later"] = 1.into();
        fs::write(&file.path, serde_json::to_vec(&document).expect("JSON")).expect("writable");
        let remembered = file.load(at(0).time).expect("readable");
        assert_eq!(remembered.wishes, list().wishes().cloned().collect::<Vec<_>>());
        assert_eq!(remembered.words, Some(words.all().cloned().collect()));
    }

    #[test]
    fn what_was_wanted_without_a_word_is_not_told_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        let restarted = || {
            let remembered = file.load(at(0).time).expect("readable");
            let list = Wishlist::restored(remembered.wishes, at(0));
            (Words::restored(remembered.words, &list, at(0).time), list)
        };
        // A server was removed, and put back with a weight: that is for this director alone.
        file.save(&list(), &Words::default(), at(0).time).expect("writable");
        let (words, wanted) = restarted();
        assert_eq!((words.all().count(), wanted.orders().len()), (0, 2));
        // A version that put no words down told nobody of anything yet.
        let text = fs::read_to_string(&file.path).expect("readable");
        fs::write(&file.path, text.replace(",\"words\":[]", "")).expect("writable");
        assert_eq!(restarted().0.all().count(), 2);
    }

    #[test]
    fn what_cannot_be_followed_is_kept_under_another_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        fs::create_dir_all(file.path.parent().expect("a folder")).expect("made");
        for text in ["{\"version\":2,\"standby\":[]}", "{\"version\":1"] {
            fs::write(&file.path, text).expect("writable");
            let error = format!("{:#}", file.load(at(0).time).expect_err(text));
            assert!(error.contains("operator.json.refused"), "{error}");
            // It is left alone until there is something else to put down.
            assert_eq!(fs::read_to_string(&file.path).expect("readable"), text);
            for _ in 0..2 {
                file.save(&list(), &Words::default(), at(0).time).expect("writable");
                assert_eq!(fs::read_to_string(&file.aside).expect("readable"), text);
            }
            assert!(!file.load(at(0).time).expect("readable").wishes.is_empty());
        }
    }

    #[test]
    fn an_old_file_without_wishes_is_no_trouble() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        let words = Words::restored(None, &list(), at(0).time);
        file.save(&Wishlist::default(), &words, at(0).time).expect("writable");
        let kept = file.load(at(7).time).expect("readable").words;
        assert_eq!(kept.map(|words| words.len()), Some(2));
        let remembered = file.load(at(8).time).expect("no trouble");
        assert!(remembered.wishes.is_empty() && remembered.words.is_none());
        file.save(&list(), &Words::default(), at(8).time).expect("writable");
        assert!(!file.aside.exists());
    }

    #[test]
    fn what_cannot_even_be_read_is_kept_under_another_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = file(&folder);
        fs::create_dir_all(file.path.parent().expect("a folder")).expect("made");
        let too_long = || {
            let long = fs::File::create(&file.path).expect("writable");
            long.set_len((64 << 20) + 1).expect("room for a hole");
        };
        let no_plain_file = || drop(std::os::unix::net::UnixListener::bind(&file.path).expect("a socket"));
        let cases: [(&dyn Fn(), &str); 2] = [(&too_long, "more than any file"), (&no_plain_file, "no plain file")];
        for (make, why) in cases {
            make();
            let kind = fs::symlink_metadata(&file.path).expect("there").file_type();
            let error = format!("{:#}", file.load(at(0).time).expect_err(why));
            assert!(
                error.contains(why) && error.contains("operator.json.refused"),
                "{error}"
            );
            file.save(&list(), &Words::default(), at(0).time).expect("writable");
            let aside = fs::symlink_metadata(&file.aside).expect("kept").file_type();
            assert_eq!(aside, kind);
            assert!(!file.load(at(0).time).expect("readable").wishes.is_empty());
            fs::remove_file(&file.path).expect("removed");
        }
    }

    #[test]
    fn wishes_of_another_namespace_and_torn_files_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = file(&folder);
        file.save(&list(), &Words::default(), at(0).time).expect("writable");
        let text = fs::read_to_string(&file.path).expect("readable");
        for torn in [
            "",
            "[]",
            &text[..text.len() / 2],
            &text.replace("\"version\":1", "\"version\":2"),
        ] {
            fs::write(&file.path, torn).expect("writable");
            let error = format!("{:#}", file.load(at(0).time).expect_err(torn));
            assert!(error.contains("operator.json"), "{error}");
        }
        fs::write(&file.path, text).expect("writable");
        file.namespace.cookie = Some(u64::MAX);
        assert_eq!(file.load(at(0).time).expect("readable").wishes, Vec::new());
    }
}
