//! The `callsheet` command: reads the command line and hands over to [`cli`].

mod cli;

/// Small values are made on one thread and dropped on another all the time; glibc's allocator takes
/// a third of the steps a second for that. See `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
