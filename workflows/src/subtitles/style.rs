//! How burned captions look, as a user may choose it.

use callsheet_actors::{StepError, StepResult};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::limits::MAX_FONT_CHARS;

/// How burned captions look. Lengths are in percent, so that they mean the same on every picture.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Style {
    /// What happens to the words while they are spoken.
    pub preset: Effect,
    /// Which word `highlight` paints in the other colour.
    pub highlight: Highlight,
    /// Whether all letters are capitals. The subtitle files keep the text as it was said.
    pub uppercase: bool,
    /// Whether the letters are bold.
    pub bold: bool,
    /// Whether the letters are slanted.
    pub italic: bool,
    /// Name of the font: at most 64 letters, digits, blanks and `-`. Where it is not installed
    /// another one is taken.
    #[schemars(length(min = 1, max = 64))]
    pub font: String,
    /// Size of the letters in percent of the picture's height, 1 to 50. They are made smaller where
    /// the longest line would not fit.
    #[schemars(range(min = 1.0, max = 50.0))]
    pub size: f64,
    /// Blanks between letters in percent of their size, 0 to 100.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub spacing: f64,
    /// Colour of the letters.
    pub color: Color,
    /// Colour of the words that the preset paints: the highlighted one, or those that are sung.
    pub highlight_color: Color,
    /// Colour of the outline.
    pub outline_color: Color,
    /// Width of the outline in percent of the letters' size, 0 to 50.
    #[schemars(range(min = 0.0, max = 50.0))]
    pub outline: f64,
    /// Colour of the shadow.
    pub shadow_color: Color,
    /// Depth of the shadow in percent of the letters' size, 0 to 50.
    #[schemars(range(min = 0.0, max = 50.0))]
    pub shadow: f64,
    /// Where in the picture the captions stand.
    pub position: Position,
    /// Distance from the upper or lower edge in percent of the picture's height, 0 to 90; absent:
    /// 19.3 from the lower one, 7 from the upper one. In the middle it means nothing.
    #[schemars(range(min = 0.0, max = 90.0))]
    pub margin: Option<f64>,
}

/// White capitals with a black outline above the lower edge, the last word in yellow: what viewers
/// of short videos know.
impl Default for Style {
    fn default() -> Self {
        Self {
            preset: Effect::default(),
            highlight: Highlight::default(),
            uppercase: true,
            bold: true,
            italic: false,
            font: "Impact".to_owned(),
            size: 6.0,
            spacing: 2.0,
            color: Color::opaque(0xFF, 0xFF, 0xFF),
            highlight_color: Color::opaque(0xFF, 0xFF, 0x00),
            outline_color: Color::opaque(0, 0, 0),
            outline: 4.0,
            shadow_color: Color::opaque(0, 0, 0),
            shadow: 2.0,
            position: Position::default(),
            margin: None,
        }
    }
}

/// What happens to the words while they are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: all of the text in one colour.
    Classic,
    /// Each word takes on the other colour when it is said, and keeps it.
    Karaoke,
    /// Each word stands alone while it is said.
    WordByWord,
    /// One word has the other colour: the last one, or the one that is being said.
    #[default]
    Highlight,
}

/// Which word is highlighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Highlight {
    /// The last word of the caption.
    #[default]
    Last,
    /// The word that is being said.
    Current,
}

/// A place in the picture; without a side it is in the centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // They say what they are.
pub enum Position {
    BottomLeft,
    #[default]
    Bottom,
    BottomRight,
    MiddleLeft,
    Middle,
    MiddleRight,
    TopLeft,
    Top,
    TopRight,
}

impl Position {
    /// The number that ASS has for it: those of a numeric keypad.
    pub(super) fn alignment(self) -> u8 {
        match self {
            Self::BottomLeft => 1,
            Self::Bottom => 2,
            Self::BottomRight => 3,
            Self::MiddleLeft => 4,
            Self::Middle => 5,
            Self::MiddleRight => 6,
            Self::TopLeft => 7,
            Self::Top => 8,
            Self::TopRight => 9,
        }
    }

    /// Distance from the edge in percent where none is given. Below it is that of the original;
    /// above no player draws its buttons.
    pub(super) fn margin(self) -> f64 {
        if self.alignment() <= 3 { 19.3 } else { 7.0 }
    }
}

/// A colour: `#RRGGBB`, or `#RRGGBBAA` with how opaque it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    red: u8,
    green: u8,
    blue: u8,
    /// 255 hides all that is behind it.
    opacity: u8,
}

impl Color {
    const fn opaque(red: u8, green: u8, blue: u8) -> Self {
        Self { red, green, blue, opacity: 0xFF }
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if !matches!(digits.len(), 6 | 8) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let pair = |n: usize| u8::from_str_radix(digits.get(n..n + 2)?, 16).ok();
        let opacity = if digits.len() == 8 { pair(6)? } else { 0xFF };
        Some(Self { red: pair(0)?, green: pair(2)?, blue: pair(4)?, opacity })
    }

    /// As an ASS style has it: transparency first, then blue, green, red.
    pub(super) fn in_style(self) -> String {
        let Self { red, green, blue, opacity } = self;
        format!("&H{:02X}{blue:02X}{green:02X}{red:02X}", 0xFF - opacity)
    }

    /// As an override of the letters' colour in the middle of a line.
    pub(super) fn in_line(self) -> String {
        let Self { red, green, blue, opacity } = self;
        format!("{{\\1c&H{blue:02X}{green:02X}{red:02X}&\\1a&H{:02X}&}}", 0xFF - opacity)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            D::Error::custom(format!("`{shown}` is no colour; write it like `#FFCC00`"))
        })
    }
}

impl JsonSchema for Color {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Color".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "a colour: `#RRGGBB`, or `#RRGGBBAA` with how opaque it is",
            "type": "string",
            "pattern": "^#([0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})$",
        })
    }
}

impl Style {
    /// Refuses what would get out of the ASS header, and what cannot be drawn.
    ///
    /// # Errors
    /// `subtitles.input`, naming the field.
    pub(super) fn check(&self) -> StepResult<()> {
        let refused = |message: String| StepError::fatal("subtitles.input", message);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-');
        let font = &self.font;
        if font.trim().is_empty()
            || font.chars().count() > MAX_FONT_CHARS
            || !font.chars().all(is_name)
        {
            let shown: String = font.chars().take(80).collect();
            return Err(refused(format!("`font` is `{shown}`, which is no name of a font"))
                .with_hint("use letters, digits, blanks and `-`, such as `DejaVu Sans`"));
        }
        for (name, value, least, most) in [
            ("size", self.size, 1.0, 50.0),
            ("spacing", self.spacing, 0.0, 100.0),
            ("outline", self.outline, 0.0, 50.0),
            ("shadow", self.shadow, 0.0, 50.0),
            ("margin", self.margin.unwrap_or(0.0), 0.0, 90.0),
        ] {
            if !(least..=most).contains(&value) {
                return Err(refused(format!("`{name}` is {value}, expected {least} to {most}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn colours_are_read_and_written() {
        for (text, style, line) in [
            ("#FFFF00", "&H0000FFFF", "{\\1c&H00FFFF&\\1a&H00&}"),
            ("#12345680", "&H7F563412", "{\\1c&H563412&\\1a&H7F&}"),
            ("#abcdef", "&H00EFCDAB", "{\\1c&HEFCDAB&\\1a&H00&}"),
        ] {
            let color: Color = from_value(json!(text)).unwrap();
            assert_eq!((color.in_style(), color.in_line()), (style.to_owned(), line.to_owned()));
        }
        for text in ["", "#", "red", "FFFF00", "#FFF", "#GGGGGG", "#FFFFFF&}", "#ééé", "#+12345"]
        {
            assert!(from_value::<Color>(json!(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_style_is_refused() {
        let whole = |value: &Value| from_value::<Style>(value.clone()).map_err(|e| e.to_string());
        assert_eq!(whole(&json!({})).unwrap(), Style::default());
        for value in [
            json!({ "colour": "#FFFFFF" }),
            json!({ "preset": "blink" }),
            json!({ "position": "left" }),
            json!({ "size": "big" }),
        ] {
            assert!(whole(&value).is_err(), "{value}");
        }
        for (value, field) in [
            (json!({ "size": 0 }), "size"),
            (json!({ "outline": 51 }), "outline"),
            (json!({ "shadow": -1 }), "shadow"),
            (json!({ "spacing": 101 }), "spacing"),
            (json!({ "margin": 91 }), "margin"),
            (json!({ "font": "Arial,100\n[Events]" }), "font"),
            (json!({ "font": " " }), "font"),
            (json!({ "font": "{\\b1}" }), "font"),
        ] {
            let StepError(failure) = whole(&value).unwrap().check().unwrap_err();
            assert_eq!(failure.code, "subtitles.input");
            assert!(failure.message.contains(field), "{}", failure.message);
        }
        for font in ["-", "DejaVu Sans", &"字".repeat(64)] {
            let style = Style { font: font.to_owned(), ..Style::default() };
            assert!(style.check().is_ok(), "{font}");
        }
        let nan = Style { size: f64::NAN, ..Style::default() };
        assert!(nan.check().is_err());
    }

    #[test]
    fn places_are_those_of_a_keypad() {
        for (name, alignment) in
            [("bottom_left", 1), ("bottom", 2), ("middle", 5), ("top", 8), ("top_right", 9)]
        {
            let position: Position = from_value(json!(name)).unwrap();
            assert_eq!(position.alignment(), alignment, "{name}");
        }
    }
}
