//! Whatever happens, the promises hold: the oracle sees every decision of every game.

use std::collections::BTreeMap;

use callsheet_engine::{Ending, Event, Interruption, Phase};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::graph::graphs;
use crate::play::{Game, chances, rude_chances};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_job_ends_as_it_must(
        graph in graphs(),
        seed in any::<u64>(),
        chances in vec(chances(), 0..80),
    ) {
        Game::new(&graph, seed).play(&chances);
    }

    #[test]
    fn every_job_that_is_stopped_ends_as_it_must(
        graph in graphs(),
        seed in any::<u64>(),
        chances in vec(rude_chances(), 0..60),
    ) {
        Game::new(&graph, seed).play(&chances);
    }

    #[test]
    fn attempts_that_always_answer_need_no_luck(graph in graphs(), seed in any::<u64>()) {
        Game::new(&graph, seed).play(&[]);
    }
}

/// Games in which nothing happens prove nothing: every kind of event and every ending is seen.
#[test]
fn the_games_are_rich() {
    let mut runner = TestRunner::deterministic();
    let games = (graphs(), vec(rude_chances(), 0..60));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let (graph, chances) = games.new_tree(&mut runner).unwrap().current();
        let mut game = Game::new(&graph, 4);
        game.play(&chances);
        for event in &game.journal {
            *seen.entry(kind(event)).or_default() += 1;
        }
        let Phase::Ended { ending, .. } = &game.state.phase else { panic!("it has ended") };
        *seen.entry(name(ending).to_owned()).or_default() += 1;
    }
    let least = [
        ("succeeded", 50),
        ("failed", 50),
        ("cancelled", 50),
        ("poisoned", 5),
        ("StepSkipped", 100),
        ("SleepBegan", 100),
        ("SleepEnded", 50),
        ("StepExpanded", 100),
        ("StepFailed", 20),
        ("ItemFailed", 100),
        ("AttemptFailed", 200),
        ("fallback", 100),
        ("AttemptCancelled", 100),
        ("death", 100),
        ("shutdown", 20),
        ("StepSucceeded", 700),
        ("StepInDoubt", 60),
        ("ProbeStarted", 20),
        ("ProbeFailed", 3),
        ("StepHeld", 15),
        ("DoubtResolved", 25),
    ];
    for (what, least) in least {
        assert!(seen.get(what).is_some_and(|count| *count >= least), "{what} in {seen:?}");
    }
}

fn kind(event: &Event) -> String {
    match event {
        Event::AttemptInterrupted { cause: Interruption::Death, .. } => "death",
        Event::AttemptInterrupted { cause: Interruption::Shutdown, .. } => "shutdown",
        Event::AttemptFailed { candidate: 1.., .. } => "fallback",
        other => other.kind(),
    }
    .to_owned()
}

fn name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Succeeded(_) => "succeeded",
        Ending::Failed(failure) if failure.code == "job.poisoned" => "poisoned",
        Ending::Failed(_) => "failed",
        Ending::Cancelled => "cancelled",
    }
}
