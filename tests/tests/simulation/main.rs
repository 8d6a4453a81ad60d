//! A simulation by seed: the real router and the real agents, natively, with objects that vanish,
//! replies that get lost and requests that interleave. Each schedule is one seed; what a client is
//! told is held against a model of what it may be told. It must not know the platform.
//!
//! `SCHEDULES=n` runs another number of schedules, `SEED=n` a single one.

#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code: what fails is a failing test"
)]

mod client;
mod model;
mod world;

use client::Client;
use model::Totals;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

const SCHEDULES: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs the schedule of one seed.
fn run(seed: u64) -> Totals {
    Client::new(seed).run()
}

#[test]
fn the_invariants_hold_in_every_schedule() {
    if let Some(seed) = number("SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let schedules = number("SCHEDULES").unwrap_or(SCHEDULES);
    let next = AtomicU64::new(0);
    let work = || {
        let mut totals = Totals::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= schedules {
                return totals;
            }
            match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(one) => totals.add(&one),
                Err(_) => panic!("the schedule of seed {seed} broke an invariant: SEED={seed}"),
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let totals = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut totals = Totals::default();
        for handle in handles {
            totals.add(&handle.join().expect("no invariant is broken"));
        }
        totals
    });
    println!("{schedules} schedules: {totals:?}");
    // The schedules must have met what they are made for.
    let met = [
        totals.answered,
        totals.lost,
        totals.killed,
        totals.restarts,
        totals.evictions,
        totals.overlaps,
        totals.refused_sessions,
        totals.kept_sessions,
        totals.lists,
        totals.routed,
        totals.shared,
    ];
    for (index, count) in met.iter().enumerate() {
        assert!(*count >= schedules / 10, "too few of {index}: {totals:?}");
    }
}

#[test]
fn a_seed_is_a_schedule() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed), "the same seed gives the same schedule");
    }
}
