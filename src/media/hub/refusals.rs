//! Log of rejected publishers, shown to explain why a stream is missing.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_base::sync::Locked as _;

/// Maximum number of entries.
const MOST: usize = 32;
/// Maximum entries of one address, so that a flood can't push out the others.
const MOST_OF_ADDRESS: usize = 4;

/// Attempts of one address that failed for one reason. Its input is left out,
/// as it may contain a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RejectedPublisher {
    #[schema(value_type = String)]
    pub address: IpAddr,
    pub why: String,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Newest rejections, bounded.
#[derive(Debug, Default)]
pub(super) struct RejectedPublishers(Mutex<VecDeque<RejectedPublisher>>);

impl RejectedPublishers {
    pub(super) fn add(&self, address: IpAddr, why: String, now: Timestamp) {
        let mut all = self.0.locked();
        let known = all
            .iter()
            .position(|one| one.address == address && one.why == why);
        let known = known.and_then(|place| all.remove(place));
        let (first, count) = known.map_or((now, 0), |known| (known.first, known.count));
        let of_address = all.iter().filter(|one| one.address == address).count();
        let address_full = of_address >= MOST_OF_ADDRESS;
        if address_full || all.len() >= MOST {
            let oldest = all
                .iter()
                .position(|one| !address_full || one.address == address);
            all.remove(oldest.unwrap_or_default());
        }
        all.push_back(RejectedPublisher {
            address,
            why,
            count: count + 1,
            first,
            last: now,
        });
    }

    /// Newest first.
    pub(super) fn all(&self) -> Vec<RejectedPublisher> {
        let all = self.0.locked();
        all.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_and_no_address_fills_the_list() {
        let refusals = RejectedPublishers::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        refusals.add(address(1), "wrong stream key".to_owned(), at(1));
        for second in 2..5 {
            refusals.add(address(2), "wrong stream key".to_owned(), at(second));
        }
        let [newest, oldest] = &refusals.all()[..] else {
            panic!("two of them");
        };
        assert_eq!((newest.count, newest.first, newest.last), (3, at(2), at(4)));
        assert_eq!((oldest.count, oldest.address), (1, address(1)));
        for n in 0..100 {
            refusals.add(address(3), format!("reason {n}"), at(10));
        }
        let of = |n| {
            refusals
                .all()
                .iter()
                .filter(|one| one.address == address(n))
                .count()
        };
        assert_eq!((of(1), of(2), of(3)), (1, 1, MOST_OF_ADDRESS));
        for n in 10..200 {
            refusals.add(address(n), "not RTMP".to_owned(), at(20));
        }
        assert_eq!(refusals.all().len(), MOST);
        assert_eq!(refusals.all()[0].address, address(199));
    }
}
