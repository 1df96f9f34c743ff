//! Numbers that look random and are the same for the same attachment for ever: where in a range an ADD begins to look.
//!
//! The definitions are written out here and never change (std's hashers promise nothing of the kind), so that two versions
//! of this program that serve one pod begin at the same place.

use super::lease::Began;

/// The 64-bit FNV-1a hash.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The 128-bit FNV-1a hash. Names of records' files and of stored definitions hang on it.
pub fn fnv1a_128(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let basis = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    bytes.iter().fold(basis, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// A stream of numbers from a seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream that belongs to a text.
    pub fn of(text: &str) -> Self {
        Self(fnv1a_64(text.as_bytes()))
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u128) -> u128 {
        let wide = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        wide.checked_rem(bound).unwrap_or(0)
    }

    /// Puts a list into another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u128 + 1) as usize);
        }
    }
}

/// Where an ADD looks: first, and what it draws when it has found nothing.
#[derive(Clone, Debug)]
pub struct Chances {
    /// The same in each try, so that a repeated ADD begins where the first one did.
    pub attachment: SplitMix64,
    /// Another one in each try. It is drawn from the time at which the ADD began, since a runtime may use the container's
    /// id again; so all come in turn, and nothing has to be written.
    pub attempt: SplitMix64,
}

impl Chances {
    /// Those of an ADD that began then.
    pub fn of(text: &str, began: &Began) -> Self {
        let Began { boot, boottime } = began;
        Self { attachment: SplitMix64::of(text), attempt: SplitMix64::of(&format!("{text}@{boot}/{boottime}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_the_published_fnv_1a() {
        // The test vectors of the FNV reference (Noll), for "" and "foobar".
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(fnv1a_128(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    }

    #[test]
    fn the_stream_is_the_published_splitmix64() {
        // The first outputs of the reference implementation for the seed 0.
        let mut draws = SplitMix64(0);
        assert_eq!([draws.next_u64(), draws.next_u64()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn draws_stay_below_their_bound_and_reach_all_of_it() {
        let mut draws = SplitMix64::of("container");
        let seen: std::collections::BTreeSet<u128> = (0..200).map(|_| draws.below(7)).collect();
        assert_eq!(seen, (0..7).collect());
        assert_eq!(draws.below(0), 0);
    }
}
