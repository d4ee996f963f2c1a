//! Journals: they survive being written and read, and damaged ones are refused, not obeyed.

use callsheet_engine::{
    Event, Failure, Input, ItemIndex, JobState, Outcome, Phase, Resolution, StepIndex, Timestamp,
    Token, decide, fold,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use crate::graph::graphs;
use crate::play::{Game, chances, rude_chances};

/// One thing that has happened to a journal.
#[derive(Clone, Debug)]
enum Damage {
    Lost(Index),
    Doubled(Index),
    Swapped(Index, Index),
    Cut(Index),
    /// Every step, item, fence, attempt and candidate of an event becomes this number.
    Foreign(Index, u64),
    /// The event becomes that of another place.
    Copied(Index, Index),
}

fn damages() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![0..16u64, Just(u64::from(u32::MAX)), Just(u64::MAX)];
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Damage::Lost),
        index().prop_map(Damage::Doubled),
        (index(), index()).prop_map(|(a, b)| Damage::Swapped(a, b)),
        index().prop_map(Damage::Cut),
        (index(), number).prop_map(|(at, number)| Damage::Foreign(at, number)),
        (index(), index()).prop_map(|(a, b)| Damage::Copied(a, b)),
    ]
}

impl Damage {
    fn inflict(&self, journal: &mut Vec<Event>) {
        let count = journal.len();
        if count == 0 {
            return;
        }
        match self {
            Self::Lost(at) => {
                journal.remove(at.index(count));
            }
            Self::Doubled(at) => {
                let at = at.index(count);
                journal.insert(at, journal[at].clone());
            }
            Self::Swapped(a, b) => journal.swap(a.index(count), b.index(count)),
            Self::Cut(at) => journal.truncate(at.index(count)),
            Self::Foreign(at, number) => make_foreign(&mut journal[at.index(count)], *number),
            Self::Copied(from, to) => journal[to.index(count)] = journal[from.index(count)].clone(),
        }
    }
}

fn make_foreign(event: &mut Event, number: u64) {
    let small = u32::try_from(number).unwrap_or(u32::MAX);
    match event {
        Event::StepSkipped { step, .. }
        | Event::SleepBegan { step, .. }
        | Event::SleepEnded { step, .. }
        | Event::StepExpanded { step, .. }
        | Event::StepFailed { step, .. } => *step = StepIndex(small),
        Event::ItemFailed { step, item, .. }
        | Event::StepHeld { step, item, .. }
        | Event::DoubtResolved { step, item, .. } => {
            (*step, *item) = (StepIndex(small), ItemIndex(small));
        }
        Event::ProbeStarted { step, item, probe, token, .. } => match number % 4 {
            0 => *step = StepIndex(small),
            1 => *item = ItemIndex(small),
            2 => *probe = small,
            _ => *token = Token(number),
        },
        // Not all at once, or the first wrong one would hide the others.
        Event::StepStarted { step, item, attempt, token, candidate, .. } => match number % 5 {
            0 => *step = StepIndex(small),
            1 => *item = ItemIndex(small),
            2 => *attempt = small,
            3 => *token = Token(number),
            _ => *candidate = small,
        },
        Event::AttemptFailed { candidate, .. } if number.is_multiple_of(2) => *candidate = small,
        Event::StepSucceeded { token, .. }
        | Event::AttemptFailed { token, .. }
        | Event::AttemptInterrupted { token, .. }
        | Event::StepInDoubt { token, .. }
        | Event::ProbeFailed { token, .. }
        | Event::AttemptCancelled { token, .. } => *token = Token(number),
        Event::JobSubmitted { .. }
        | Event::CancelRequested { .. }
        | Event::JobSucceeded { .. }
        | Event::JobFailed { .. }
        | Event::JobCancelled { .. } => {}
    }
}

/// Drives a job to its end, whatever its journal was.
fn drive(mut state: JobState, now: Timestamp, answer: &Outcome) {
    decide(&mut state, Input::Resume, now);
    for _ in 0..2_000 {
        let (open, due) = (state.open_tokens().next(), state.next_wake());
        let (input, at) = match (open, due) {
            (Some(token), _) if state.phase == Phase::Running => {
                (Input::StepEnded { token, outcome: answer.clone() }, now)
            }
            (Some(token), _) => (Input::StepEnded { token, outcome: Outcome::Stopped }, now),
            (None, Some(due)) => (Input::TimerFired, due),
            (None, None) => {
                let Some(doubt) = state.held().next() else { break };
                (Input::Resolve { doubt, resolution: Resolution::Succeeded(json!(1)) }, now)
            }
        };
        decide(&mut state, input, at);
    }
    assert!(state.has_ended(), "{state:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_journal_that_was_written_and_read_gives_the_same_state(
        graph in graphs(),
        chances in vec(rude_chances(), 0..60),
    ) {
        let mut game = Game::new(&graph, 1);
        game.play(&chances);
        let json = serde_json::to_vec(&game.journal).unwrap();
        let from_json: Vec<Event> = serde_json::from_slice(&json).unwrap();
        let packed = rmp_serde::to_vec_named(&game.journal).unwrap();
        let unpacked: Vec<Event> = rmp_serde::from_slice(&packed).unwrap();
        for read in [from_json, unpacked] {
            prop_assert_eq!(&read, &game.journal);
            prop_assert_eq!(&game.fold(&read), &game.state);
        }
    }

    #[test]
    fn every_beginning_of_a_journal_is_a_journal(
        graph in graphs(),
        chances in vec(rude_chances(), 0..40),
    ) {
        let mut game = Game::new(&graph, 2);
        game.play(&chances);
        for count in 1..=game.journal.len() {
            // Not only at the edge of a record: a store that wrote half a record is survived too.
            let begun = fold(game.state.id, game.plan.clone(), &game.journal[..count]);
            drive(begun.unwrap(), game.now, &Outcome::Succeeded(json!(1)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_damaged_journal_is_refused_or_makes_sense(
        graph in graphs(),
        chances in vec(chances(), 0..50),
        damages in vec(damages(), 1..4),
        stop_early in any::<bool>(),
    ) {
        let mut game = Game::new(&graph, 3);
        chances.iter().for_each(|chance| game.happen(chance));
        if !stop_early {
            game.finish();
        }
        let mut journal = game.journal;
        damages.iter().for_each(|damage| damage.inflict(&mut journal));
        if let Ok(state) = fold(game.state.id, game.plan.clone(), &journal) {
            drive(state.clone(), game.now, &Outcome::Succeeded(json!({ "v": 1 })));
            let fault = Failure::retryable("test.fault", "it may pass");
            drive(state, game.now, &Outcome::Failed(fault));
        }
    }
}
