//! Small pieces of filter graphs. Nothing in them comes from a user but numbers.

/// The size of a picture that is to fit into a box: never larger than it is, with the same shape,
/// and with even sides, as the colour format of every player needs.
pub(crate) fn fit(picture: (u32, u32), into: (Option<u32>, u32)) -> (u32, u32) {
    let (width, height) = (f64::from(picture.0), f64::from(picture.1));
    let across = into.0.map_or(1.0, |most| f64::from(most) / width);
    let share = across.min(f64::from(into.1) / height).min(1.0);
    if share >= 1.0 {
        return picture;
    }
    let side = |side: f64| ((side * share / 2.0).round() * 2.0).max(2.0) as u32;
    (side(width), side(height))
}

/// The filter that makes both sides even where one is not, by a line of black.
pub(crate) fn even(width: Option<u32>, height: Option<u32>) -> Option<&'static str> {
    let odd = |side: Option<u32>| side.is_some_and(|side| side % 2 == 1);
    (odd(width) || odd(height)).then_some("pad=ceil(iw/2)*2:ceil(ih/2)*2")
}

/// One stream, decoded once, to several chains of filters: `from` is its label with brackets, each
/// chain has a name for its end.
pub(crate) fn fork(from: &str, split: &str, chains: &[(String, String)]) -> String {
    if let [(chain, end)] = chains {
        return format!("{from}{chain}[{end}]");
    }
    let ways: String = (0..chains.len()).map(|n| format!("[{split}{n}]")).collect();
    let each = chains.iter().enumerate();
    let each: String =
        each.map(|(n, (chain, end))| format!(";[{split}{n}]{chain}[{end}]")).collect();
    format!("{from}{split}={}{ways}{each}", chains.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pictures_fit_and_are_never_enlarged() {
        for (picture, into, expected) in [
            ((1920, 1080), (None, 720), (1280, 720)),
            ((1280, 720), (None, 1080), (1280, 720)),
            ((1280, 720), (None, 720), (1280, 720)),
            ((1080, 1920), (None, 720), (406, 720)),
            ((1920, 1080), (Some(640), 640), (640, 360)),
            ((641, 361), (None, 1080), (641, 361)),
            ((640, 360), (Some(1280), 720), (640, 360)),
            ((4000, 2), (Some(100), 100), (100, 2)),
        ] {
            assert_eq!(fit(picture, into), expected);
        }
    }

    proptest! {
        #[test]
        fn a_fitted_picture_is_within_its_box_and_keeps_its_shape(
            width in 16_u32..8_000, height in 16_u32..8_000,
            most_wide in proptest::option::of(16_u32..4_000), most_high in 16_u32..4_000,
        ) {
            let (w, h) = fit((width, height), (most_wide, most_high));
            prop_assert!(w <= width.max(2) && h <= height.max(2));
            // Rounding to even sides may take one more.
            prop_assert!(h <= most_high + 1 && most_wide.is_none_or(|most| w <= most + 1));
            let shape = f64::from(w) / f64::from(width) - f64::from(h) / f64::from(height);
            let grain = 2.0 / f64::from(width.min(height));
            prop_assert!(shape.abs() <= grain, "{w}x{h} of {width}x{height}");
        }
    }

    #[test]
    fn odd_sides_are_evened() {
        for (width, height, evened) in [
            (Some(640), Some(360), false),
            (Some(641), Some(360), true),
            (Some(640), Some(361), true),
            (None, None, false),
        ] {
            assert_eq!(even(width, height).is_some(), evened);
        }
    }

    #[test]
    fn a_fork_decodes_once() {
        let chain = |text: &str, end: &str| (text.to_owned(), end.to_owned());
        assert_eq!(fork("[0:1]", "asplit", &[chain("anull", "a")]), "[0:1]anull[a]");
        assert_eq!(
            fork("[0:1]", "asplit", &[chain("anull", "a"), chain("volume=2", "b")]),
            "[0:1]asplit=2[asplit0][asplit1];[asplit0]anull[a];[asplit1]volume=2[b]"
        );
    }
}
