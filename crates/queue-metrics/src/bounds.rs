//! The bounds of histograms' buckets, in whole nanoseconds or bytes.

use crate::names::{LIFETIME_BUCKETS, SIZE_BUCKETS, WAIT_BUCKETS};

/// The buckets of a histogram.
pub(crate) struct Bounds {
    pub(crate) upper: &'static [u64],
    /// By the power of two that is not above a value: the first bucket that it may belong to.
    pub(crate) first: &'static [u8; 64],
    pub(crate) measures: Measures,
}

/// The meaning of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measures {
    /// Nanoseconds, which a recorder has in seconds.
    Time,
    /// Bytes.
    Size,
}

pub(crate) static WAITS: Bounds = Bounds {
    upper: &WAIT_NANOS,
    first: &WAIT_FIRST,
    measures: Measures::Time,
};

pub(crate) static LIFETIMES: Bounds = Bounds {
    upper: &LIFETIME_NANOS,
    first: &LIFETIME_FIRST,
    measures: Measures::Time,
};

pub(crate) static SIZES: Bounds = Bounds {
    upper: &SIZE_BYTES,
    first: &SIZE_FIRST,
    measures: Measures::Size,
};

static WAIT_FIRST: [u8; 64] = first(&WAIT_NANOS);
static LIFETIME_FIRST: [u8; 64] = first(&LIFETIME_NANOS);
static SIZE_FIRST: [u8; 64] = first(&SIZE_BYTES);
static WAIT_NANOS: [u64; WAIT_BUCKETS.len()] = scaled(WAIT_BUCKETS, NANOS);
static LIFETIME_NANOS: [u64; LIFETIME_BUCKETS.len()] = scaled(LIFETIME_BUCKETS, NANOS);
static SIZE_BYTES: [u64; SIZE_BUCKETS.len()] = scaled(SIZE_BUCKETS, 1.0);

const NANOS: f64 = 1e9;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounds are small and positive"
)]
const fn scaled<const N: usize>(bounds: &[f64], by: f64) -> [u64; N] {
    let mut scaled = [0; N];
    let mut i = 0;
    while i < N {
        // Rounded, not cut off: a product of a decimal fraction may fall short of the whole number.
        scaled[i] = (bounds[i] * by + 0.5) as u64;
        i += 1;
    }
    scaled
}

#[expect(clippy::cast_possible_truncation, reason = "there are few buckets")]
const fn first(bounds: &[u64]) -> [u8; 64] {
    let mut first = [0; 64];
    let mut power = 0;
    while power < 64 {
        let mut bucket = 0;
        while bucket < bounds.len() && bounds[bucket] < 1 << power {
            bucket += 1;
        }
        first[power] = bucket as u8;
        power += 1;
    }
    first
}
