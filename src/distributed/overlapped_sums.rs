//! Sums over all ranks that a thread takes while the rank goes on computing.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

/// A fixed number of sums, each of numbers that are added as soon as this rank knows them.
pub struct OverlappedSums {
    numbers: Sender<(usize, Vec<f32>)>,
    thread: JoinHandle<Vec<Vec<f32>>>,
}

impl OverlappedSums {
    /// `count` sums, each taken by the collective operation `all_reduce`. They are taken in the order of
    /// their places, whatever the order in which numbers are added, so that all ranks take them in one order.
    pub fn new(count: usize, all_reduce: impl Fn(&mut [f32]) + Send + 'static) -> Self {
        let (numbers, received) = mpsc::channel();
        let thread = thread::spawn(move || reduce_in_order(count, &received, all_reduce));
        Self { numbers, thread }
    }

    /// Adds this rank's numbers of one of the sums, at a place below `count`.
    pub fn add(&self, place: usize, numbers: Vec<f32>) {
        // Fails only after the thread has ended; `finish` then returns too few sums.
        _ = self.numbers.send((place, numbers));
    }

    /// Waits for all sums and returns them in the order of places; fewer when numbers are missing.
    pub fn finish(self) -> Vec<Vec<f32>> {
        drop(self.numbers);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Takes `count` sums in the order of places, keeping numbers that come too early. Ends before that when the
/// channel closes: this rank has then failed, and ends the others.
fn reduce_in_order(
    count: usize,
    received: &Receiver<(usize, Vec<f32>)>,
    all_reduce: impl Fn(&mut [f32]),
) -> Vec<Vec<f32>> {
    let mut early = BTreeMap::new();
    let mut sums = Vec::with_capacity(count);
    while sums.len() < count {
        let Ok((place, numbers)) = received.recv() else { break };
        early.insert(place, numbers);
        while let Some(mut numbers) = early.remove(&sums.len()) {
            all_reduce(&mut numbers);
            sums.push(numbers);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn sums_are_taken_in_the_order_of_places() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let taken = order.clone();
        let sums = OverlappedSums::new(3, move |numbers| {
            taken.lock().unwrap().push(numbers[0]);
            numbers.iter_mut().for_each(|number| *number *= 2.0);
        });
        for (place, number) in [(1, 5.0), (2, 7.0), (0, 3.0)] {
            sums.add(place, vec![number, 1.0]);
        }
        assert_eq!(sums.finish(), [[6.0, 2.0], [10.0, 2.0], [14.0, 2.0]]);
        assert_eq!(*order.lock().unwrap(), [3.0, 5.0, 7.0]);
    }

    #[test]
    fn missing_numbers_are_not_waited_for() {
        let sums = OverlappedSums::new(2, |_| ());
        sums.add(1, vec![1.0]);
        assert!(sums.finish().is_empty());
    }
}
