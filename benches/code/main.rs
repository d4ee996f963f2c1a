//! What the code of the durable path costs, without a workflow's own work: `decide`, the fold, the
//! codec, and the group commit of the store. `make bench-code` runs it.
//!
//! Times and allocations are divan's. `-- --instructions` counts instructions instead, which are
//! nearly the same from run to run: with the machine's counters where it lets us, else under
//! valgrind.

mod instructions;
mod work;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

use work::{WORKS, Work};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--work", name, count] => work::play(name, count.parse().expect("it is our own number")),
        args if args.contains(&"--instructions") => instructions::print(),
        _ => divan::main(),
    }
}

#[divan::bench(args = WORKS)]
fn code(bencher: Bencher, work: &Work) {
    let once = (work.prepare)();
    bencher.counter(ItemsCount::new(work.units)).bench_local(once);
}
