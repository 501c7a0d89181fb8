//! Chance that can be repeated.

/// Numbers that look random and follow from a seed and a name alone.
///
/// Named instead of drawn from one stream: several tasks ask in an order that differs from run to run,
/// and what one of them gets must not depend on who asked before it.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of `parts`, in a world grown from `seed`.
    pub(crate) fn of(seed: u64, parts: &[&str]) -> Random {
        // FNV-1a; a separator keeps ("a", "bc") and ("ab", "c") apart.
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ seed;
        for part in parts {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Random(hash)
    }

    /// The next number: splitmix64 (source: Steele, Lea and Flood, "Fast splittable pseudorandom number
    /// generators", 2014).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `value`, give or take `percent` of it.
    pub(crate) fn about(&mut self, value: u64, percent: u64) -> u64 {
        let reach = value * percent / 100;
        value - reach + self.next() % (2 * reach + 1)
    }

    /// Letters and digits, as AWS puts them behind names it makes up.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length)
            .map(|_| char::from(LETTERS[(self.next() % LETTERS.len() as u64) as usize]))
            .collect()
    }

    /// A number from `low` up to and with `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// Hexadecimal digits, as in the ids of EC2.
    pub(crate) fn hex(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b"0123456789abcdef"[(self.next() % 16) as usize]))
            .collect()
    }

    /// Shaped like a UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let (one, two) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            one >> 32,
            one >> 16 & 0xffff,
            one & 0xffff,
            two >> 48,
            two & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gets_the_same_numbers() {
        let draw = |seed, parts: &[&str]| Random::of(seed, parts).next();
        assert_eq!(draw(1, &["a", "bc"]), draw(1, &["a", "bc"]));
        assert_ne!(draw(1, &["a", "bc"]), draw(1, &["ab", "c"]));
        assert_ne!(draw(1, &["a", "bc"]), draw(2, &["a", "bc"]));
    }

    #[test]
    fn about_stays_within_reach() {
        let mut random = Random::of(7, &[]);
        assert!((0..1000).all(|_| (85..=115).contains(&random.about(100, 15))));
        assert_eq!(random.about(0, 15), 0);
    }
}
