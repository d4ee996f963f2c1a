//! Every named point, and everything that may happen at it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fate::{Act, Fate};
use crate::parent::World;

/// Worlds at a time. They sleep most of the time.
const SIDE_BY_SIDE: usize = 13;

/// What happens at each point, in this order: a kill once and later, and never three deaths of one
/// attempt in a row, which would rightly quarantine its job.
const ACTS: [(Act, u64); 6] = [
    (Act::Exit, 1),
    (Act::Sleep, 1),
    (Act::Exit, 6),
    (Act::Panic, 2),
    (Act::Cancel, 1),
    (Act::CancelAndKill, 2),
];

/// All points that the program lists.
fn points() -> Vec<&'static str> {
    let lists = [
        callsheet_actors::POINTS,
        callsheet_actors::TREE_POINTS,
        callsheet_storage::failpoints::POINTS,
        callsheet::server::POINTS,
    ];
    lists.concat()
}

#[test]
fn whatever_happens_at_any_point_nothing_is_lost_or_repeated() {
    let wanted = std::env::var("CALLSHEET_CRASH_POINT").unwrap_or_default();
    let mut points = points();
    points.retain(|point| point.contains(&wanted));
    let next = AtomicUsize::new(0);
    let worlds = std::thread::scope(|scope| {
        let work = || {
            let mut swept = Vec::new();
            while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                swept.push(sweep(point));
            }
            swept
        };
        let threads: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        let swept = threads.into_iter().flat_map(|it| it.join().expect("no promise was broken"));
        swept.collect::<Vec<_>>()
    });
    let accepted: usize = worlds.iter().map(|world| world.figures().0).sum();
    let succeeded: usize = worlds.iter().map(|world| world.figures().1).sum();
    println!(
        "{} points, {} acts at each; {accepted} accepted jobs, {succeeded} succeeded, the others \
         were cancelled",
        points.len(),
        ACTS.len()
    );
    assert!(succeeded > 3 * points.len(), "too little succeeded for it to mean anything");
}

fn sweep(point: &str) -> World {
    let mut world = World::new(1);
    for (act, passing) in ACTS {
        println!("{point}: {act} at passing {passing}");
        let passed = world.life(Fate::At { point, passing, act });
        assert!(passed || passing > 1, "{point} was not passed, so nothing was shown: {act}");
    }
    world.finish();
    world
}

/// A point in the sources that the program does not list would not be swept.
#[test]
fn the_program_lists_every_point_of_its_sources() {
    let mut named = Vec::new();
    for package in ["engine", "storage", "actors", "workflows", "api", "."] {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(package).join("src");
        points_under(&sources, &mut named);
    }
    let listed = points();
    let distinct: BTreeSet<_> = named.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), named.len(), "a point stands in one place: {named:?}");
    assert_eq!(distinct, listed.iter().copied().collect(), "sources beside lists");
    assert_eq!(distinct.len(), listed.len(), "a point is listed once");
}

fn points_under(dir: &PathBuf, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            points_under(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let calls = text.split(concat!("fail_", "point!(\"")).skip(1);
        found.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
}
