//! The order of a listing: the original's comparison, and a sort that puts up with it.
//!
//! ipvsadm subtracts unsigned 32-bit words into a signed int, so that its comparison wraps: 192.0.2.1 comes before
//! 10.0.0.1, and three addresses can each be "less" than the next, round in a circle. What comes out then depends on
//! the sorting algorithm; libc's `qsort` is a top-down merge sort up to glibc 2.36 (Debian 12), which is done again
//! here. The standard library's sorts may panic on such a comparison.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::model::{Family, ListedDestination, ListedService, ServiceKey};

/// In which order services and their destinations are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As ipvsadm sorts them: by mark, family, protocol, address and port, with wrapping comparisons.
    #[default]
    Sorted,
    /// As the kernel gave them (`--nosort`).
    Kernel,
}

/// The services in the order asked for.
pub fn sorted_services(services: &[ListedService], order: Order) -> Vec<&ListedService> {
    let mut sorted: Vec<&ListedService> = services.iter().collect();
    match order {
        Order::Sorted => merge_sort(&mut sorted, &|a, b| compare_services(&a.key, &b.key)),
        Order::Kernel => {}
    }
    sorted
}

/// One service's destinations in the order asked for.
pub fn sorted_destinations(destinations: &[ListedDestination], order: Order) -> Vec<&ListedDestination> {
    let mut sorted: Vec<&ListedDestination> = destinations.iter().collect();
    match order {
        Order::Sorted => merge_sort(&mut sorted, &|a, b| {
            compare_addresses(a.key.address, b.key.address).then(a.key.port.cmp(&b.key.port))
        }),
        Order::Kernel => {}
    }
    sorted
}

/// The original's comparison of services.
fn compare_services(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    match (a, b) {
        (
            ServiceKey::Fwmark { mark, family },
            ServiceKey::Fwmark {
                mark: other,
                family: with,
            },
        ) => wrapping(*mark, *other).then(family.cmp(with)),
        (ServiceKey::Fwmark { mark, .. }, ServiceKey::Address { .. }) => {
            wrapping(*mark, 0).then_with(|| a.family().cmp(&b.family()))
        }
        (ServiceKey::Address { .. }, ServiceKey::Fwmark { mark, .. }) => {
            wrapping(0, *mark).then_with(|| a.family().cmp(&b.family()))
        }
        (
            ServiceKey::Address {
                protocol,
                address,
                port,
            },
            ServiceKey::Address {
                protocol: other_protocol,
                address: other_address,
                port: other_port,
            },
        ) => Family::of(*address)
            .cmp(&Family::of(*other_address))
            .then(protocol.number().cmp(&other_protocol.number()))
            .then_with(|| compare_addresses(*address, *other_address))
            .then(port.cmp(other_port)),
    }
}

/// The original's comparison of addresses: the first one's family decides how many words count, and an IPv4 address
/// is one word followed by zeros.
fn compare_addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let (left, right) = (words(a), words(b));
    let count = match a {
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 4,
    };
    left.into_iter()
        .zip(right)
        .take(count)
        .map(|(left, right)| wrapping(left, right))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// The sign of a 32-bit difference, as C has it after the subtraction has wrapped.
fn wrapping(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

/// An address as four 32-bit words, most significant first.
fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

/// Sorts stably by halves, whatever the comparison says: always a permutation, never a panic.
fn merge_sort<T: Copy>(items: &mut [T], compare: &impl Fn(T, T) -> Ordering) {
    let mut merged = Vec::with_capacity(items.len());
    sort_halves(items, compare, &mut merged);
}

/// One step of [`merge_sort`]; `merged` is working space.
fn sort_halves<T: Copy>(items: &mut [T], compare: &impl Fn(T, T) -> Ordering, merged: &mut Vec<T>) {
    if items.len() <= 1 {
        return;
    }
    let middle = items.len() / 2;
    let (left, right) = items.split_at_mut(middle);
    sort_halves(left, compare, merged);
    sort_halves(right, compare, merged);
    merged.clear();
    let (mut left, mut right) = (&*left, &*right);
    while let ([first, left_rest @ ..], [second, right_rest @ ..]) = (left, right) {
        if compare(*first, *second).is_le() {
            merged.push(*first);
            left = left_rest;
        } else {
            merged.push(*second);
            right = right_rest;
        }
    }
    merged.extend_from_slice(left);
    merged.extend_from_slice(right);
    items.copy_from_slice(merged);
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sort_by_any_comparison_is_a_permutation(
            items in proptest::collection::vec(0_u16..50, 0..200),
            verdicts in proptest::collection::vec(-1_i8..=1, 1..40),
        ) {
            let mut sorted = items.clone();
            let asked = std::cell::Cell::new(0_usize);
            merge_sort(&mut sorted, &|_, _| {
                asked.set(asked.get() + 1);
                verdicts[asked.get() % verdicts.len()].cmp(&0)
            });
            let mut expected = items;
            expected.sort_unstable();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn with_a_sound_comparison_it_is_the_standard_stable_sort(
            items in proptest::collection::vec((0_u8..8, any::<u32>()), 0..200),
        ) {
            let mut sorted = items.clone();
            merge_sort(&mut sorted, &|a, b| a.0.cmp(&b.0));
            let mut expected = items;
            expected.sort_by_key(|item| item.0);
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn addresses_in_one_half_of_the_space_compare_as_numbers(a in 0_u32..1 << 31, b in 0_u32..1 << 31) {
            prop_assert_eq!(compare_addresses(IpAddr::V4(a.into()), IpAddr::V4(b.into())), a.cmp(&b));
        }
    }

    #[test]
    fn a_difference_of_half_the_space_wraps() {
        let (high, low) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(compare_addresses(high, low), Ordering::Less);
        assert_eq!(compare_addresses(low, high), Ordering::Greater);
    }
}
