//! Numbers at random for the director, from a seed that it is given: the same seed, the same run.

/// A row of numbers that look like chance (splitmix64, by Steele, Lea and Flood); nothing to keep secrets with.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number; each of 64 bits is as likely as any other.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_row_and_its_numbers_are_spread() {
        let row = |seed| {
            let mut chance = Chance::new(seed);
            (0..1000).map(|_| chance.next() >> 60).collect::<Vec<_>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        let counts = row(1).into_iter().fold([0; 16], |mut counts, number| {
            counts[usize::try_from(number).expect("a small number")] += 1;
            counts
        });
        assert!(counts.iter().all(|count| (30..100).contains(count)), "{counts:?}");
    }
}
