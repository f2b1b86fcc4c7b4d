//! What a reload makes of what operators want.

use std::collections::BTreeSet;

use super::Wishlist;
use crate::director::pools;
use crate::director::view::Now;
use crate::director::words::Words;
use crate::model::{Config, OperatorOrder, ServerId};

/// Who takes back what was said of a server that was added until the next reload.
const A_RELOAD: &str = "a reload";

impl Wishlist {
    /// A reload: what was to hold until then holds no more, and with a server that was added until then goes what was said
    /// of it here. What the other director's operators have said of it holds once the files have it. Answers with what to
    /// tell a director that has the new configuration.
    pub fn pass_reload(&mut self, files: &Config, words: &mut Words, now: Now) -> Vec<OperatorOrder> {
        for server in self.added_until_reload() {
            words.withdraw(&server, A_RELOAD, now.time);
        }
        let mut orders = self.drop_what_passes();
        orders.extend(self.follow_what_holds(files, words, now));
        orders
    }

    /// Follows the words about servers that the files have and of which nothing is wanted.
    fn follow_what_holds(&mut self, files: &Config, words: &Words, now: Now) -> Vec<OperatorOrder> {
        let unwanted: Vec<_> = words
            .holding()
            .filter(|(server, _)| !self.wishes.contains_key(*server))
            .collect();
        if unwanted.is_empty() {
            return Vec::new();
        }
        let pools = files.virtual_servers.iter();
        let known: BTreeSet<ServerId> = pools
            .flat_map(|pool| pool.real_servers.iter().map(|real| pools::name_of(pool, real)))
            .collect();
        let held = unwanted.into_iter().filter(|(server, _)| known.contains(*server));
        held.filter_map(|(_, word)| self.follow(word, now)).flatten().collect()
    }
}
