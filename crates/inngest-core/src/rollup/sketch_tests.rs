//! Sketches against the numbers themselves.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{RELATIVE_ERROR, Sketch};

fn sketch(micros: &[u64]) -> Sketch {
    let mut sketch = Sketch::default();
    for one in micros {
        sketch.add(Duration::from_micros(*one));
    }
    sketch
}

/// Durations of every order, from none to some years.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    vec(
        (0u32..48, any::<u64>()).prop_map(|(bits, any)| any & ((1u64 << bits) - 1)),
        1..200,
    )
}

fn merged(parts: &[&Sketch]) -> Sketch {
    let mut all = Sketch::default();
    for part in parts {
        all.merge(part);
    }
    all
}

proptest! {
    #[test]
    fn quantile_is_within_the_error_of_the_measurement_at_its_rank(mut micros in durations(), quantile in 0.0f64..=1.0) {
        let sketch = sketch(&micros);
        micros.sort_unstable();
        let rank = ((quantile * micros.len() as f64).ceil() as usize).max(1);
        let (exact, said) = (micros[rank - 1] as f64 / 1_000.0, sketch.quantile_ms(quantile).unwrap());
        prop_assert!((said - exact).abs() <= exact * RELATIVE_ERROR * 1.000_001, "{said} instead of {exact}");
        prop_assert_eq!(sketch.count(), micros.len() as u64);
        let most = *micros.last().unwrap() as f64 / 1_000.0;
        prop_assert_eq!(sketch.max_ms(), Some(most));
        let mean = micros.iter().sum::<u64>() as f64 / micros.len() as f64 / 1_000.0;
        prop_assert!((sketch.mean_ms().unwrap() - mean).abs() <= mean * 1e-9);
    }

    #[test]
    fn sketches_add_up_in_any_order_and_grouping(one in durations(), two in durations(), three in durations()) {
        let whole = sketch(&[one.clone(), two.clone(), three.clone()].concat());
        let (one, two, three) = (sketch(&one), sketch(&two), sketch(&three));
        prop_assert_eq!(&merged(&[&one, &two, &three]), &whole);
        prop_assert_eq!(&merged(&[&three, &merged(&[&two, &one])]), &whole);
        prop_assert_eq!(&merged(&[&Sketch::default(), &whole]), &whole);
    }

    #[test]
    fn what_is_left_when_a_part_is_taken_out_is_the_other_part(one in durations(), two in durations()) {
        let (one, two) = (sketch(&one), sketch(&two));
        let mut rest = merged(&[&one, &two]);
        rest.take_out(&one);
        prop_assert_eq!(rest.count(), two.count());
        for quantile in [0.5, 0.9, 0.99] {
            let (left, exact) = (rest.quantile_ms(quantile).unwrap(), two.quantile_ms(quantile).unwrap());
            prop_assert!((left - exact).abs() <= exact * 2.1 * RELATIVE_ERROR, "{left} instead of {exact}");
        }
        let (left, exact) = (rest.max_ms().unwrap(), two.max_ms().unwrap());
        // Whole microseconds are kept.
        prop_assert!((left - exact).abs() <= exact * 2.1 * RELATIVE_ERROR + 0.001, "{left} instead of {exact}");
    }

    #[test]
    fn what_is_stored_is_read_as_it_was(micros in durations()) {
        let sketch = sketch(&micros);
        prop_assert_eq!(Sketch::from_bytes(&sketch.to_bytes()), Some(sketch));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64)) {
        if let Some(sketch) = Sketch::from_bytes(&bytes) {
            sketch.quantile_ms(0.5);
            prop_assert!(sketch.to_bytes().len() <= bytes.len());
        }
    }
}

#[test]
fn empty_sketch_says_nothing() {
    let empty = Sketch::default();
    assert_eq!((empty.count(), empty.mean_ms()), (0, None));
    assert_eq!((empty.max_ms(), empty.quantile_ms(0.5)), (None, None));
    assert_eq!(Sketch::from_bytes(&empty.to_bytes()), Some(empty));
}

#[test]
fn longest_durations_have_a_bin() {
    let longest = sketch(&[u64::MAX, u64::MAX]);
    assert_eq!(longest.count(), 2);
    assert_eq!(Sketch::from_bytes(&longest.to_bytes()), Some(longest));
}
