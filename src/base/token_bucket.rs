//! Token bucket: a rate and a burst.
//!
//! Pure in the time passed in. The unit of a token (a request, a byte) is the
//! owner's.

use std::time::Instant;

/// Bucket that is refilled at a rate, up to its capacity.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    capacity: f64,
    /// Tokens added per second.
    per_second: f64,
    /// Tokens available at `refilled`; owed when negative.
    tokens: f64,
    refilled: Instant,
}

impl TokenBucket {
    /// Full bucket of `capacity` tokens.
    pub fn full(capacity: f64, per_second: f64, now: Instant) -> Self {
        Self {
            capacity,
            per_second,
            tokens: capacity,
            refilled: now,
        }
    }

    /// Changes rate and capacity, from the last refill on; tokens beyond the
    /// new capacity are lost with the next one.
    pub fn set_rate(&mut self, capacity: f64, per_second: f64) {
        self.capacity = capacity;
        self.per_second = per_second;
    }

    /// Credits the tokens due since the last refill.
    pub fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + seconds * self.per_second).min(self.capacity);
        self.refilled = self.refilled.max(now);
    }

    /// Refills, then takes a token if a whole one is available.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let available = self.tokens >= 1.0;
        if available {
            self.tokens -= 1.0;
        }
        available
    }

    /// Spends that many, even if fewer are available: the rest is owed.
    pub fn spend(&mut self, tokens: f64) {
        self.tokens -= tokens;
    }

    /// Tokens at the last refill minus those spent since; owed when negative.
    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    /// True if the bucket is full.
    pub fn is_full(&self) -> bool {
        self.tokens >= self.capacity
    }

    pub fn refilled_at(&self) -> Instant {
        self.refilled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn burst_then_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(4.0, 2.0, start);
        let taken = |bucket: &mut TokenBucket, now| (0..9).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), 4);
        assert_eq!(taken(&mut bucket, start + SECOND / 4), 0);
        assert_eq!(taken(&mut bucket, start + SECOND / 2), 1);
        assert_eq!(taken(&mut bucket, start + 2 * SECOND), 3);
        assert_eq!(taken(&mut bucket, start + 60 * SECOND), 4);
    }

    #[test]
    fn debt_is_paid_before_tokens_are_available() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(2.0, 1.0, start);
        bucket.spend(5.0);
        assert_eq!(bucket.tokens(), -3.0);
        assert!(!bucket.take(start + 3 * SECOND));
        assert!(bucket.take(start + 4 * SECOND));
        assert!(!bucket.is_full());
        bucket.refill(start + 9 * SECOND);
        assert!(bucket.is_full());
    }

    #[test]
    fn changed_rate_counts_from_the_last_refill() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(10.0, 1.0, start);
        bucket.set_rate(4.0, 0.0);
        bucket.refill(start + SECOND);
        assert_eq!(bucket.tokens(), 4.0);
        bucket.set_rate(10.0, 3.0);
        bucket.refill(start + 2 * SECOND);
        assert_eq!(bucket.tokens(), 7.0);
    }

    #[test]
    fn clock_set_back_takes_no_tokens() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(2.0, 1.0, start + SECOND);
        assert!(bucket.take(start));
        assert_eq!(bucket.tokens(), 1.0);
        bucket.refill(start + SECOND);
        assert_eq!(bucket.tokens(), 1.0, "no second is counted twice");
    }
}
