//! Equal work under way is done once: the first to ask does it, the others wait for the result.
//!
//! Who does it holds a seat, bound to the attempt that works: when that ends without a result, for
//! whatever reason, or is told to stop, the seat is free and one of those who wait takes it. A
//! failure is not handed on. Nobody waits for a seat of its own: an attempt asks once at a time,
//! and one that is abandoned has lost its seat with its cancel.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsheet_storage::ResultKey;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Work that is under way, by what it is.
#[derive(Debug)]
pub(crate) struct Flights<K = ResultKey>(Mutex<Table<K>>);

#[derive(Debug)]
struct Table<K> {
    under_way: HashMap<K, Flight>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Flight {
    number: u64,
    news: watch::Receiver<News>,
    pilot: CancellationToken,
}

/// What is known of a flight.
#[derive(Clone, Debug)]
enum News {
    UnderWay,
    Landed(Arc<Value>),
}

/// What there is to do for one who asks.
#[derive(Debug)]
pub(crate) enum Turn<K: Copy + Eq + Hash = ResultKey> {
    /// To do the work.
    Lead(Lead<K>),
    /// To wait for it.
    Wait(Wait<K>),
}

/// The seat of who does the work; free when it is dropped.
#[derive(Debug)]
pub(crate) struct Lead<K: Copy + Eq + Hash = ResultKey> {
    flights: Arc<Flights<K>>,
    key: K,
    number: u64,
    news: watch::Sender<News>,
}

/// A place among those who wait.
#[derive(Debug)]
pub(crate) struct Wait<K: Copy + Eq + Hash = ResultKey> {
    flights: Arc<Flights<K>>,
    key: K,
    flight: Flight,
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self(Mutex::new(Table { under_way: HashMap::new(), next: 0 }))
    }
}

impl<K: Copy + Eq + Hash> Flights<K> {
    /// Takes the seat if it is free. The token is that of the attempt that asks.
    pub(crate) fn join(self: &Arc<Self>, key: K, pilot: &CancellationToken) -> Turn<K> {
        let mut table = self.lock();
        if let Some(flight) = table.under_way.get(&key)
            && !flight.pilot.is_cancelled()
        {
            let (flights, flight) = (self.clone(), flight.clone());
            return Turn::Wait(Wait { flights, key, flight });
        }
        let (news, heard) = watch::channel(News::UnderWay);
        let number = table.next;
        table.next += 1;
        let flight = Flight { number, news: heard, pilot: pilot.clone() };
        table.under_way.insert(key, flight);
        Turn::Lead(Lead { flights: self.clone(), key, number, news })
    }

    /// Frees a seat, unless another has it by now.
    fn free(&self, key: &K, number: u64) {
        let mut table = self.lock();
        if table.under_way.get(key).is_some_and(|flight| flight.number == number) {
            table.under_way.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash> Lead<K> {
    /// Hands the result to those who wait.
    pub(crate) fn land(self, result: Arc<Value>) {
        // Those who come from now on find it where results are kept, not here.
        self.flights.free(&self.key, self.number);
        self.news.send_replace(News::Landed(result));
    }
}

impl<K: Copy + Eq + Hash> Drop for Lead<K> {
    fn drop(&mut self) {
        // The sender goes with it: that is the word to those who wait.
        self.flights.free(&self.key, self.number);
    }
}

impl<K: Copy + Eq + Hash> Wait<K> {
    /// The result, or none when the seat has become free without one.
    pub(crate) async fn landed(mut self) -> Option<Arc<Value>> {
        let pilot = self.flight.pilot.clone();
        let heard = async {
            let landed = self.flight.news.wait_for(|news| matches!(news, News::Landed(_))).await;
            match &*landed.ok()? {
                News::Landed(result) => Some(result.clone()),
                News::UnderWay => None,
            }
        };
        tokio::select! {
            biased;
            landed = heard => landed,
            () = pilot.cancelled() => {
                self.flights.free(&self.key, self.flight.number);
                None
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::json;
    use tokio::task::JoinSet;

    use super::*;

    type Numbered = Arc<Flights<u32>>;

    fn lead(flights: &Numbered, pilot: &CancellationToken) -> Lead<u32> {
        match flights.join(1, pilot) {
            Turn::Lead(lead) => lead,
            Turn::Wait(_) => panic!("the seat is taken"),
        }
    }

    fn wait(flights: &Numbered) -> Wait<u32> {
        match flights.join(1, &CancellationToken::new()) {
            Turn::Wait(wait) => wait,
            Turn::Lead(_) => panic!("the seat is free"),
        }
    }

    #[tokio::test]
    async fn those_who_wait_get_the_result_and_later_ones_a_seat() {
        let (flights, pilot) = (Numbered::default(), CancellationToken::new());
        let first = lead(&flights, &pilot);
        let waiting = [wait(&flights), wait(&flights)];
        first.land(Arc::new(json!(7)));
        for wait in waiting {
            assert_eq!(wait.landed().await, Some(Arc::new(json!(7))));
        }
        drop(lead(&flights, &pilot));
        assert!(flights.lock().under_way.is_empty());
    }

    #[tokio::test]
    async fn a_seat_without_a_result_goes_to_one_who_waits() {
        let (flights, pilot) = (Numbered::default(), CancellationToken::new());
        let first = lead(&flights, &pilot);
        let waiting = wait(&flights);
        drop(first);
        assert_eq!(waiting.landed().await, None);
        // One that is told to stop has no seat from then on, even if it never comes back.
        let stuck = lead(&flights, &pilot);
        let waiting = wait(&flights);
        pilot.cancel();
        assert_eq!(waiting.landed().await, None);
        let other = CancellationToken::new();
        let next = lead(&flights, &other);
        // Its late end does not take the seat of the next.
        drop(stuck);
        let waiting = wait(&flights);
        next.land(Arc::new(json!(8)));
        assert_eq!(waiting.landed().await, Some(Arc::new(json!(8))));
    }

    /// What all of one trial share.
    #[derive(Default)]
    struct World {
        flights: Numbered,
        /// How many work at each key now.
        at_work: [AtomicUsize; KEYS],
        /// How many have the result of each key.
        served: [AtomicUsize; KEYS],
        /// Whether a key has a result, which is kept.
        kept: [AtomicUsize; KEYS],
        runs: AtomicUsize,
    }

    const KEYS: usize = 4;

    struct AtWork<'w>(&'w World, usize);

    impl Drop for AtWork<'_> {
        fn drop(&mut self) {
            self.0.at_work[self.1].fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// One attempt: does the work or waits for it, and fails as often as it is told to.
    async fn attempt(world: Arc<World>, key: usize, seed: u64, pilot: CancellationToken) {
        let mut failures = seed % 3;
        loop {
            let number = u32::try_from(key).unwrap();
            match world.flights.join(number, &pilot) {
                Turn::Wait(wait) => {
                    if let Some(result) = wait.landed().await {
                        assert_eq!(*result, json!(key), "another's result");
                        break;
                    }
                }
                Turn::Lead(lead) => {
                    if world.kept[key].load(Ordering::SeqCst) > 0 {
                        lead.land(Arc::new(json!(key)));
                        break;
                    }
                    let before = world.at_work[key].fetch_add(1, Ordering::SeqCst);
                    let work = AtWork(&world, key);
                    assert_eq!(before, 0, "two at the same work");
                    world.runs.fetch_add(1, Ordering::SeqCst);
                    for _ in 0..seed % 7 {
                        tokio::task::yield_now().await;
                    }
                    drop(work);
                    if failures == 0 {
                        world.kept[key].store(1, Ordering::SeqCst);
                        lead.land(Arc::new(json!(key)));
                        break;
                    }
                    failures -= 1;
                }
            }
        }
        world.served[key].fetch_add(1, Ordering::SeqCst);
    }

    /// Many attempts at few keys, of which some fail and some are dropped at a random moment: of
    /// each key one works at a time, and everyone who was not dropped gets the result.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whatever_fails_or_is_cancelled_nobody_works_twice_and_nobody_hangs() {
        let rounds = std::env::var("CALLSHEET_FLIGHT_ROUNDS");
        let rounds = rounds.ok().and_then(|text| text.parse().ok()).unwrap_or(60_u64);
        for round in 0..rounds {
            let world = Arc::new(World::default());
            let (mut tasks, mut lasting) = (JoinSet::new(), [0; KEYS]);
            let mut random = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            for _ in 0..100 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let (seed, key) = (random >> 8, usize::try_from(random % KEYS as u64).unwrap());
                let (world, pilot) = (world.clone(), CancellationToken::new());
                let dropped = seed % 4 == 0;
                lasting[key] += usize::from(!dropped);
                tasks.spawn(async move {
                    let attempt = attempt(world, key, seed, pilot.clone());
                    if !dropped {
                        return attempt.await;
                    }
                    tokio::select! {
                        () = attempt => {}
                        () = async {
                            for _ in 0..seed % 11 {
                                tokio::task::yield_now().await;
                            }
                        } => pilot.cancel(),
                    }
                });
            }
            let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
            let hangs = tokio::time::timeout(Duration::from_secs(120), all).await;
            assert!(hangs.is_ok(), "round {round}: somebody hangs");
            for (key, expected) in lasting.into_iter().enumerate() {
                let served = world.served[key].load(Ordering::SeqCst);
                assert!(served >= expected, "round {round}, key {key}");
            }
            assert!(world.flights.lock().under_way.is_empty(), "round {round}: a seat is left");
        }
    }
}
