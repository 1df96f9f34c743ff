//! Pseudorandom numbers that depend only on the attachment: where in a range an ADD starts its search.
//!
//! The algorithms are written out here and must never change, so that two versions of this program that serve one pod
//! start at the same address. The hashers of std give no such guarantee.

use super::lease::Began;

/// The 64-bit FNV-1a hash.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The 128-bit FNV-1a hash. The file names of records and the keys of stored definitions depend on it.
pub fn fnv1a_128(bytes: &[u8]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let basis = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    bytes.iter().fold(basis, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// The SplitMix64 generator.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The stream whose seed is the hash of this text.
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

    /// Shuffles a list (Fisher-Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u128 + 1) as usize);
        }
    }
}

/// The random numbers of an ADD: for the start of its search, and for later draws.
#[derive(Clone, Debug)]
pub struct Chances {
    /// The same in each attempt, so that a repeated ADD starts where the first one did.
    pub attachment: SplitMix64,
    /// Different in each attempt: seeded with the time at which the ADD began, because a runtime may reuse the
    /// container's ID. So every candidate gets its turn without any stored state.
    pub attempt: SplitMix64,
}

impl Chances {
    /// The random numbers of an ADD that began at this time. `text` identifies the slot of its attachment.
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
