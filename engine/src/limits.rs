//! Every bound of the engine, in one place: unit last in the name, the reason, and what happens
//! beyond it.

use crate::time::Millis;

/// Steps in one workflow. Beyond it the definition is refused: the plan is held in memory by every
/// job that runs it.
pub const MAX_STEPS_COUNT: usize = 100_000;

/// Items of one `for_each`. Beyond it the step fails with `limit.fan_out`.
pub const MAX_FAN_OUT_ITEMS: usize = 100_000;

/// Items of one `for_each` that run at once unless the step says otherwise: enough to hide the
/// latency of a provider, few enough not to starve other jobs.
pub const DEFAULT_CONCURRENCY_COUNT: u32 = 8;

/// Attempts of one job that are open at once. Steps that are ready beyond it wait for their turn,
/// so a wide graph costs bounded memory in bodies and child processes.
pub const MAX_OPEN_ATTEMPTS_COUNT: usize = 1_024;

/// Attempts that a retry policy may ask for. Beyond it the definition is refused.
pub const MAX_ATTEMPTS_COUNT: u32 = 1_000;

/// Attempts without a `retry` of their own: a passing fault is survived, a lasting one is soon
/// reported.
pub const DEFAULT_ATTEMPTS_COUNT: u32 = 3;

/// A step's `weight`. Beyond it the definition is refused: the sum over all steps stays exact
/// enough for a percentage.
pub const MAX_WEIGHT_SHARE: f64 = 1e6;

/// Deaths of the process or the job's actor during one step before the job is quarantined, so that
/// no job can loop the engine.
pub const MAX_DEATHS_COUNT: u32 = 3;

/// Alternatives in one step's `fallback`. Beyond it the definition is refused.
pub const MAX_FALLBACKS_COUNT: usize = 8;

/// The time one attempt may take unless the step says otherwise: a day, so that a hung body ends.
pub const DEFAULT_TIMEOUT_MS: Millis = Millis(24 * 60 * 60 * 1_000);

/// The longest wait before another attempt that a failure can ask for: services that say more mean
/// that a quota is used up. Beyond it the attempt comes after so long.
pub const MAX_ASKED_WAIT_MS: Millis = Millis(10 * 60 * 1_000);

/// The longest sleep of a timer, and how far ahead an `until` may lie: ten years, which is longer
/// than anybody plans and short enough for every sum of instants. Beyond it a definition is refused
/// when it is known by then, else the step fails with `limit.sleep`.
pub const MAX_SLEEP_MS: Millis = Millis(3_650 * 24 * 60 * 60 * 1_000);

/// Text of one definition. Beyond it the definition is refused before it is parsed.
pub const MAX_DEFINITION_BYTES: usize = 16 * 1024 * 1024;

/// Values in one definition, those that its aliases unfold to included. Beyond it the definition is
/// refused, so that a few bytes of aliases cannot fill the memory.
pub const MAX_DEFINITION_NODES_COUNT: usize = 2_000_000;

/// Problems of one document that are reported; the rest is counted.
pub const MAX_PROBLEMS_COUNT: usize = 200;

/// Known names that are compared, over all problems of one document, to suggest the nearest one.
/// Beyond it problems come without a suggestion.
pub const MAX_SUGGESTION_CANDIDATES_COUNT: usize = 200_000;

/// Depth of nesting in a definition's values. Beyond it the definition is refused, so that no walk
/// over one can exhaust the stack.
pub const MAX_NESTING_DEPTH: usize = 64;

/// Text of one expression or template string. Beyond it the definition is refused.
pub const MAX_EXPRESSION_BYTES: usize = 64 * 1024;

/// `~` and `+` in one expression: each may copy all that stands before it. Beyond it the definition
/// is refused.
pub const MAX_EXPRESSION_JOINS_COUNT: usize = 64;

/// Values that one expression may name: each may be as large as a step's output, and joining them
/// copies them all. Beyond it the definition is refused.
pub const MAX_EXPRESSION_VALUES_COUNT: usize = 256;

/// Bytes that the filters of one evaluation may make, over all of them. Beyond it the step fails
/// with `expression.size`.
pub const MAX_EXPRESSION_MADE_BYTES: usize = 4 * MAX_EXPRESSION_RESULT_BYTES;

/// Steps of one cycle that a problem names; a longer one is cut in the middle.
pub const MAX_NAMED_STEPS_COUNT: usize = 8;

/// Length of a name that is compared with others to find what was meant. Longer ones are not:
/// nobody mistypes them in one letter only, and the work grows with the square.
pub const MAX_COMPARED_CHARS: usize = 64;

/// Virtual machine steps that one evaluation may take. Beyond it the step fails with
/// `expression.fuel`.
pub const MAX_EXPRESSION_FUEL: u64 = 1_000_000;

/// Size of one evaluated value, as JSON. Beyond it the step fails with `expression.size`.
pub const MAX_EXPRESSION_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// Items of a list that a filter may take in. Beyond it the step fails with `expression.size`.
pub const MAX_EXPRESSION_ITEMS_COUNT: usize = 1_000_000;

/// Size of a job's input, as JSON. Beyond it the submit is refused; larger data travels as files.
pub const MAX_INPUT_BYTES: usize = 1024 * 1024;

/// Depth of nesting in a job's input and in a step's output. Beyond it the submit is refused and
/// the attempt fails with `limit.output`: what reads JSON stops at 128, and answers wrap a value in
/// a few more.
pub const MAX_DATA_NESTING_DEPTH: usize = 100;

/// Size of one step's output, as JSON. Beyond it the attempt fails with `limit.output`; larger data
/// travels as artifacts.
pub const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// Length of a failure's message that is recorded; the rest is cut with a mark.
pub const MAX_FAILURE_MESSAGE_BYTES: usize = 4 * 1024;

/// Length of a workflow's name or a step's id.
pub const MAX_NAME_BYTES: usize = 64;

const _: () = assert!(DEFAULT_ATTEMPTS_COUNT <= MAX_ATTEMPTS_COUNT);
const _: () = assert!(MAX_NESTING_DEPTH <= MAX_DATA_NESTING_DEPTH);
const _: () = assert!(MAX_INPUT_BYTES <= MAX_EXPRESSION_RESULT_BYTES);
const _: () = assert!(DEFAULT_CONCURRENCY_COUNT as usize <= MAX_OPEN_ATTEMPTS_COUNT);
