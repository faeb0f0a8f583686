//! Sums over all ranks taken by a thread of its own, while the ranks go on computing.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

/// So many sums, each of numbers that come when they are known.
pub struct Sums {
    coming: Sender<(usize, Vec<f32>)>,
    thread: JoinHandle<Vec<Vec<f32>>>,
}

impl Sums {
    /// Adds up by `sum`, which all ranks must ask for in one order: that of places, whatever the order in which numbers come.
    pub fn new(count: usize, sum: impl Fn(&mut [f32]) + Send + 'static) -> Self {
        let (coming, come) = mpsc::channel();
        let thread = thread::spawn(move || {
            let (mut early, mut sums) = (BTreeMap::<usize, Vec<f32>>::new(), Vec::with_capacity(count));
            // The end of the channel with sums missing: this rank has failed, and ends the others.
            while let (true, Ok((place, numbers))) = (sums.len() < count, come.recv()) {
                early.insert(place, numbers);
                while let Some(mut numbers) = early.remove(&sums.len()) {
                    sum(&mut numbers);
                    sums.push(numbers);
                }
            }
            sums
        });
        Self { coming, thread }
    }

    /// This rank's numbers at one of the places.
    pub fn add(&self, place: usize, numbers: Vec<f32>) {
        // Without its thread, the sums are missed at the end.
        _ = self.coming.send((place, numbers));
    }

    /// Waits for all sums, whose numbers must have been added before; in the order of places.
    pub fn finish(self) -> Vec<Vec<f32>> {
        drop(self.coming);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn sums_are_taken_in_the_order_of_places() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let seen = order.clone();
        let sums = Sums::new(3, move |numbers| {
            seen.lock().unwrap().push(numbers[0]);
            numbers.iter_mut().for_each(|number| *number *= 2.0);
        });
        for (place, number) in [(1, 5.0), (2, 7.0), (0, 3.0)] {
            sums.add(place, vec![number, 1.0]);
        }
        assert_eq!(sums.finish(), [[6.0, 2.0], [10.0, 2.0], [14.0, 2.0]]);
        assert_eq!(*order.lock().unwrap(), [3.0, 5.0, 7.0]);
    }

    #[test]
    fn what_never_came_is_not_waited_for() {
        let sums = Sums::new(2, |_| ());
        sums.add(1, vec![1.0]);
        assert!(sums.finish().is_empty());
    }
}
