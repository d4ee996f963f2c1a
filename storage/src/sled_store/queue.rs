//! What waits for the writer, in the order in which it was handed over.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue with one taker. Handing over never waits; who may hand over how much is decided by those
/// who do.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    is_open: bool,
    /// Whether the taker sleeps, so that nobody wakes one who is at work.
    is_taker_asleep: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { waiting: VecDeque::new(), is_open: true, is_taker_asleep: false };
        Self { state: Mutex::new(state), ready: Condvar::new() }
    }

    /// Hands a request over. Gives it back when nobody takes any more.
    pub(super) fn push(&self, request: T) -> Result<(), T> {
        let mut state = self.lock();
        if !state.is_open {
            return Err(request);
        }
        state.waiting.push_back(request);
        let wake = std::mem::take(&mut state.is_taker_asleep);
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Waits for requests and takes some. None means that there will never be any again.
    pub(super) fn wait(&self, taken: &mut Vec<T>, at_most: usize) {
        let mut state = self.lock();
        while state.waiting.is_empty() && state.is_open {
            state.is_taker_asleep = true;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_taker_asleep = false;
        state.take(taken, at_most);
    }

    /// Takes some requests, if there are any.
    pub(super) fn take(&self, taken: &mut Vec<T>, at_most: usize) {
        self.lock().take(taken, at_most);
    }

    /// Takes nothing any more; what waits can still be taken.
    pub(super) fn close(&self) {
        self.lock().is_open = false;
        self.ready.notify_one();
    }

    /// Takes nothing any more, and drops what waits.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.is_open = false;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        drop(dropped); // outside the lock: those who wait for an answer are told
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // What it holds is whole at any instant, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn take(&mut self, taken: &mut Vec<T>, at_most: usize) {
        let count = self.waiting.len().min(at_most);
        taken.extend(self.waiting.drain(..count));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn taken(queue: &Queue<u32>, at_most: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        queue.wait(&mut taken, at_most);
        taken
    }

    #[test]
    fn requests_are_taken_in_their_order() {
        let queue = Queue::new();
        (0..5).for_each(|n| queue.push(n).unwrap());
        assert_eq!(taken(&queue, 3), [0, 1, 2]);
        queue.push(5).unwrap();
        assert_eq!(taken(&queue, 9), [3, 4, 5]);
    }

    #[test]
    fn a_closed_queue_gives_what_is_in_it_and_then_nothing() {
        let queue = Queue::new();
        queue.push(1).unwrap();
        queue.close();
        assert_eq!(queue.push(2), Err(2));
        assert_eq!(taken(&queue, 9), [1]);
        assert!(taken(&queue, 9).is_empty());
        let queue = Queue::new();
        queue.push(1).unwrap();
        queue.abandon();
        assert!(taken(&queue, 9).is_empty());
    }

    #[test]
    fn the_taker_is_woken() {
        let queue = Arc::new(Queue::new());
        let taker = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut sum = 0;
                loop {
                    let some = taken(&queue, 7);
                    if some.is_empty() {
                        return sum;
                    }
                    sum += some.iter().sum::<u32>();
                }
            })
        };
        for n in 0..1_000 {
            queue.push(n).unwrap();
            if n % 10 == 0 {
                std::thread::yield_now();
            }
        }
        queue.close();
        assert_eq!(taker.join().unwrap(), 499_500);
    }
}
