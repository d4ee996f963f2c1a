//! Where a clip is cut: what of its pictures can be copied, counted in frames.
//!
//! A copy can begin at a picture that needs no other, a keyframe, and end before one. What of the
//! clip lies before the first and behind the last of them is encoded. Parts are counted, not timed:
//! by their times, pictures that are stored in another order than they are shown in come twice.

use crate::limits::{MAX_DELAY_COUNT, ORDER_SAMPLE_COUNT};

/// One stored picture, in the order in which they are stored; times in the stream's own units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) pts: i64,
    /// When it is decoded; the first pictures of a file may not say it.
    pub(crate) dts: Option<i64>,
    pub(crate) size: u64,
    pub(crate) key: bool,
}

/// A clip as three parts. A part without frames is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SmartCut {
    /// When the first picture of the clip is shown, and when the first one behind it would be.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The frames that are encoded up to the first keyframe.
    pub(crate) head: usize,
    /// The keyframe that the copy begins with, and when it ends.
    pub(crate) copy_from: i64,
    pub(crate) copy_to: i64,
    /// The sizes of the packets that are copied, by which the copy is checked.
    pub(crate) copied: Vec<u64>,
    /// The frames that are encoded from the last keyframe on.
    pub(crate) tail: usize,
    /// How many pictures are held back until they are shown; the parts must agree in it.
    pub(crate) delay: u8,
    /// The usual time between two pictures.
    pub(crate) step: i64,
}

impl SmartCut {
    /// How many frames the clip has.
    pub(crate) fn frames(&self) -> usize {
        self.head + self.copied.len() + self.tail
    }
}

/// Divides what lies within `from` and `to` (which itself is not part of it).
///
/// # Errors
/// Why it cannot be divided, or why that would be of no use, in words.
pub(crate) fn smart_cut(packets: &[Packet], from: i64, to: i64) -> Result<SmartCut, &'static str> {
    let mut shown: Vec<i64> = packets.iter().map(|packet| packet.pts).collect();
    shown.sort_unstable();
    if shown.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("two of its pictures have the same time");
    }
    let step = usual_step(&shown).ok_or("it has too few pictures")?;
    let within: Vec<i64> = shown.iter().copied().filter(|pts| (from..to).contains(pts)).collect();
    let (first, last) = (within.first(), within.last());
    let (first, last) = first.zip(last).ok_or("there is no picture in the clip")?;
    let end = shown.iter().copied().find(|pts| *pts >= to).unwrap_or(last + step);
    let keys = closed_keys(packets);
    let inside = |key: &&usize| (*first..=end).contains(&packets[**key].pts);
    let begin = keys.iter().find(inside).copied().ok_or("no keyframe lies in the clip")?;
    // Behind the last picture of the file a copy can end too.
    let ends_with_file = !packets.iter().any(|packet| packet.pts >= end);
    let stop = match keys.iter().rev().find(inside).copied() {
        _ if ends_with_file => packets.len(),
        Some(key) if key > begin => key,
        _ => return Err("no two keyframes lie in the clip"),
    };
    let copied = &packets[begin..stop];
    let copy_from = packets[begin].pts;
    let copy_to = packets.get(stop).map_or(end, |packet| packet.pts);
    let delay = delay(copied, step).ok_or("its pictures are stored too far out of order")?;
    let count = |range: std::ops::Range<i64>| within.iter().filter(|p| range.contains(p)).count();
    let cut = SmartCut {
        from: *first,
        to: end,
        head: count(*first..copy_from),
        copy_from,
        copy_to,
        copied: copied.iter().map(|packet| packet.size).collect(),
        tail: count(copy_to..end),
        delay,
        step,
    };
    if cut.frames() != within.len() {
        return Err("its pictures do not keep to their keyframes");
    }
    Ok(cut)
}

/// The keyframes behind which no picture is shown that was shown before them: nothing that follows
/// such a one needs what comes before it.
fn closed_keys(packets: &[Packet]) -> Vec<usize> {
    let mut least = i64::MAX;
    let mut keys = Vec::new();
    for (n, packet) in packets.iter().enumerate().rev() {
        if packet.key && packet.pts < least {
            keys.push(n);
        }
        least = least.min(packet.pts);
    }
    // What comes before a keyframe must also be shown before it.
    let mut most = i64::MIN;
    let mut before = Vec::with_capacity(packets.len());
    for packet in packets {
        before.push(most);
        most = most.max(packet.pts);
    }
    keys.retain(|n| before[*n] < packets[*n].pts);
    keys.reverse();
    keys
}

/// The median time between two pictures.
fn usual_step(shown: &[i64]) -> Option<i64> {
    let mut steps: Vec<i64> = shown.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied()
}

/// By how many pictures the first is held back, in whole ones: what it says itself, or else the
/// least that the order of the pictures needs.
fn delay(copied: &[Packet], step: i64) -> Option<u8> {
    let first = copied.first()?;
    let needed = |(n, packet): (usize, &Packet)| {
        let earlier = copied.iter().filter(|other| other.pts < packet.pts).count();
        n.saturating_sub(earlier) as i64
    };
    let delay = match first.dts {
        Some(dts) => (first.pts - dts + step / 2).div_euclid(step),
        // A few groups of pictures show it, and a whole film would take too long.
        None => copied.iter().take(ORDER_SAMPLE_COUNT).enumerate().map(needed).max()?,
    };
    (0..=MAX_DELAY_COUNT).contains(&delay).then_some(delay as u8)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Groups of pictures, each `I` followed by pairs that are stored in the order `P B`.
    fn film(groups: &[usize], step: i64) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut at = 0;
        for frames in groups {
            let mut order: Vec<usize> = (0..*frames).collect();
            for pair in order[1..].chunks_exact_mut(2) {
                pair.swap(0, 1);
            }
            for n in order {
                let dts = Some((packets.len() as i64 - 1) * step);
                let pts = (at + n) as i64 * step;
                packets.push(Packet { pts, dts, size: packets.len() as u64, key: n == 0 });
            }
            at += frames;
        }
        packets
    }

    #[test]
    fn only_the_ends_are_encoded() {
        let packets = film(&[10, 10, 10, 10], 100);
        for (from, to, head, copied, tail) in [
            (0, 4_000, 0, 40, 0),
            (0, 3_500, 0, 30, 5),
            (500, 3_500, 5, 20, 5),
            (501, 3_500, 4, 20, 5),
            (500, 3_501, 5, 20, 6),
            (1_000, 3_000, 0, 20, 0),
            (500, 4_000, 5, 30, 0),
            (500, 9_000, 5, 30, 0),
        ] {
            let cut = smart_cut(&packets, from, to).unwrap();
            let found = (cut.head, cut.copied.len(), cut.tail);
            assert_eq!(found, (head, copied, tail), "{from} to {to}");
            assert_eq!(cut.delay, 1);
        }
    }

    #[test]
    fn the_delay_is_found_in_the_order_where_nothing_says_it() {
        let mut packets = film(&[11, 11], 100);
        packets.iter_mut().for_each(|packet| packet.dts = None);
        assert_eq!(smart_cut(&packets, 0, 2_200).unwrap().delay, 1);
        packets.sort_by_key(|packet| packet.pts);
        assert_eq!(smart_cut(&packets, 0, 2_200).unwrap().delay, 0);
    }

    #[test]
    fn what_cannot_be_cut_says_why() {
        let packets = film(&[10, 10, 10], 100);
        let mut late = packets.clone();
        late.iter_mut().for_each(|packet| packet.dts = packet.dts.map(|dts| dts - 500));
        let mut twice = packets.clone();
        twice[3].pts = twice[4].pts;
        let mut open = packets.clone();
        // A picture behind the keyframe is shown before it.
        open.swap(9, 10);
        open.swap(19, 20);
        for (packets, from, to, expected) in [
            (&packets, 100, 900, "no keyframe"),
            (&packets, 500, 1_500, "no two keyframes"),
            (&packets, 5_000, 6_000, "no picture"),
            (&late, 500, 2_500, "out of order"),
            (&twice, 500, 2_500, "same time"),
            (&open, 500, 2_500, "no keyframe"),
            (&Vec::new(), 0, 1, "too few"),
        ] {
            let reason = smart_cut(packets, from, to).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_frame_is_lost_or_doubled(
            groups in proptest::collection::vec(1_usize..12, 1..8),
            step in 1_i64..3_000, from in 0.0..1.0_f64, length in 0.0..1.0_f64,
        ) {
            let packets = film(&groups, step);
            let end = packets.len() as f64 * step as f64;
            let from = (from * end) as i64;
            let to = from + (length * end) as i64;
            let expected = packets.iter().filter(|p| (from..to).contains(&p.pts)).count();
            if let Ok(cut) = smart_cut(&packets, from, to) {
                prop_assert_eq!(cut.frames(), expected);
                prop_assert!(cut.from >= from && cut.from < from + step);
                prop_assert!(packets.iter().any(|p| p.key && p.pts == cut.copy_from));
                // What is copied is one piece of the file, from a keyframe on.
                let at = cut.copied[0] as usize;
                let sizes: Vec<u64> = (at..at + cut.copied.len()).map(|n| n as u64).collect();
                prop_assert_eq!(&cut.copied, &sizes);
                let shown = packets[at..at + cut.copied.len()].iter().map(|p| p.pts);
                prop_assert!(shown.clone().all(|p| (cut.copy_from..cut.copy_to).contains(&p)));
            }
        }
    }
}
