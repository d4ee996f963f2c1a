//! A wait may be over: what is due starts, what is not waits on.

use super::turn::Turn;

pub(super) fn timer_fired(turn: &mut Turn<'_>) {
    turn.advance();
}

#[cfg(test)]
mod tests {
    use crate::testing::play;

    #[test]
    fn what_is_due_starts_soonest_first_and_what_is_not_waits_on() {
        let yaml = "
name: waits
steps:
  - { id: a, uses: k, retry: { initial: 9s, jitter: 0 } }
  - { id: b, uses: k, retry: { initial: 5s, jitter: 0 } }
  - { id: c, uses: k, retry: { initial: 1h, max: 1h, jitter: 0 } }";
        play(
            yaml,
            r"
            start    > start a; start b; start c
            a fail   > retry a in 9s
            b fail   > retry b in 5s
            c fail   > retry c in 1h
            timer    >
            +4s999ms >
            +1ms     > start b#2
            timer    >
            b fail   > retry b in 10s
            +10s     > start a#2; start b#3
            +1h      > start c#2
            ",
        );
    }
}
