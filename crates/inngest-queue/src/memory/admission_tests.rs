use uuid::Uuid;

use super::*;
use crate::limits::AdmissionKey;

fn function(number: u128) -> FunctionId {
    FunctionId::from_raw(Uuid::from_u128(number))
}

fn order(seq: u64) -> Order {
    Order {
        calls_app: true,
        rank: 0,
        due_at: Timestamp::default(),
        seq,
    }
}

#[test]
fn empty_partitions_are_forgotten_and_gain_nothing_by_it() {
    let mut admission = Admission::default();
    let limits = PartitionLimits {
        concurrency: Some(9),
    };
    admission.set_limits(function(0), limits);
    let waiting = function(10_001);
    let closed = PartitionLimits {
        concurrency: Some(0),
    };
    admission.set_limits(waiting, closed);
    admission.insert(waiting, &AdmissionKeys::default(), order(0), 0);
    for number in 1..10_000 {
        let entry = number as usize;
        admission.insert(
            function(number),
            &AdmissionKeys::default(),
            order(number as u64),
            entry,
        );
        let (taken, lane) = admission.take_next().unwrap();
        assert_eq!(taken, entry);
        admission.release(lane);
    }
    assert!(
        admission.partitions.len() <= KEPT_PARTITIONS + 1,
        "{}",
        admission.partitions.len()
    );
    assert_eq!(admission.lanes.len() + 1, admission.partitions.len());
    assert_eq!(admission.groups.len(), admission.partitions.len());
    assert_eq!(
        admission.partitions[admission.by_function[&function(0)]].limits,
        limits
    );

    let forgotten = function(1);
    assert!(!admission.by_function.contains_key(&forgotten));
    admission.insert(forgotten, &AdmissionKeys::default(), order(10_002), 1);
    admission.set_limits(waiting, PartitionLimits::default());
    let served = [
        admission.take_next().unwrap().0,
        admission.take_next().unwrap().0,
    ];
    assert_eq!(served, [0, 1], "what has waited all the time goes first");
}

#[test]
fn keys_and_their_lanes_go_with_their_last_entry() {
    let mut admission = Admission::default();
    for number in 0..1_000_u128 {
        let keys = AdmissionKeys::new(vec![AdmissionKey {
            key: number,
            limit: 1,
        }]);
        admission.insert(function(1), &keys, order(2 * number as u64), 1);
        let removed = order(2 * number as u64 + 1);
        let lane = admission.insert(function(1), &keys, removed, 2);
        let (_, leased) = admission.take_next().unwrap();
        assert!(admission.take_next().is_none(), "the key is taken");
        admission.release(leased);
        admission.remove(lane, removed);
    }
    assert_eq!(
        (
            admission.lanes.len(),
            admission.groups.len(),
            admission.by_key.len()
        ),
        (0, 1, 0)
    );
}

#[test]
fn later_limit_of_a_key_decides_for_all_that_name_it() {
    let mut admission = Admission::default();
    let keys = |limit| AdmissionKeys::new(vec![AdmissionKey { key: 5, limit }]);
    for seq in 0..4 {
        admission.insert(
            function(u128::from(seq)),
            &keys(1),
            order(seq),
            seq as usize,
        );
    }
    assert!(admission.take_next().is_some());
    assert!(admission.take_next().is_none());
    admission.insert(function(9), &keys(3), order(9), 9);
    assert!(admission.take_next().is_some());
    assert!(admission.take_next().is_some());
    assert!(admission.take_next().is_none());
}
