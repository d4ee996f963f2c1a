//! From `--input name=value` to the job's input: values are read by the types that the workflow's
//! input schema gives them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use callsheet::definition::{self, nearest};
use clap::Args;
use serde_json::{Map, Value};

use super::paths;
use super::schema::types;
use crate::cli::correct;
use crate::cli::error::{CliError, Result};

/// How the input is given.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct InputArgs {
    /// One field of the input; repeat it for more fields, or for the items of an array
    ///
    /// The value is read as the type that the workflow's input schema names: number, boolean,
    /// array (by repetition, or as JSON), object (as JSON); without a type it is text.
    #[arg(long = "input", short = 'i', value_name = "NAME=VALUE")]
    pub(crate) pairs: Vec<String>,

    /// The whole input as a JSON object; `--input` then sets single fields of it
    #[arg(long, value_name = "JSON", conflicts_with = "input_file")]
    pub(crate) input_json: Option<String>,

    /// The whole input as a file that holds a JSON object; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) input_file: Option<PathBuf>,
}

/// The input that the arguments give, under the workflow's input schema.
///
/// # Errors
/// When an argument cannot be read as what the schema asks for. Whether the input as a whole is
/// valid is for the engine to say.
pub(crate) fn gather(args: &InputArgs, schema: Option<&Value>) -> Result<Value> {
    let mut input = whole(args)?;
    let Some(fields) = input.as_object_mut() else {
        if args.pairs.is_empty() {
            return Ok(input);
        }
        return Err(CliError::usage("`--input` sets a field, but the input is not a JSON object"));
    };
    let mut wrong = Vec::new();
    for (name, (texts, first)) in pairs(&args.pairs)? {
        match field(schema, &name, &texts, &first) {
            Ok(value) => drop(fields.insert(name, value)),
            Err(error) => wrong.push(error),
        }
    }
    if !wrong.is_empty() {
        return Err(CliError::several("these inputs cannot be taken", wrong));
    }
    if let Some(schema) = schema {
        paths::make_absolute(schema, &mut input);
    }
    Ok(input)
}

/// The value of one field; `first` is its first argument as it was typed.
fn field(schema: Option<&Value>, name: &str, texts: &[String], first: &str) -> Result<Value> {
    let known = field_schema(schema, name);
    if known.is_none() {
        check_name(schema, name, first)?;
    }
    let forms =
        known.map(|known| definition::forms(schema.unwrap_or(known), known)).unwrap_or_default();
    value(name, &forms, schema.unwrap_or(&Value::Null), texts)
}

/// Sets a field to files: their list where the field takes a list, else the only one.
///
/// # Errors
/// When the workflow has no such field, it has a value already, or it takes one file only.
pub(crate) fn set_files(
    input: &mut Value,
    schema: Option<&Value>,
    (name, arg): (&str, &str),
    mut files: Vec<Value>,
) -> Result<()> {
    let known = field_schema(schema, name);
    if known.is_none() {
        check_name(schema, name, arg)?;
    }
    let Some(fields) = input.as_object_mut() else {
        return Err(CliError::usage("`--upload` sets a field, but the input is not a JSON object"));
    };
    if fields.contains_key(name) {
        let said = format!("input `{name}` is given both as a value and with `--upload`");
        return Err(CliError::usage(said)
            .hint("for a mixed list send the files with `callsheet upload` first"));
    }
    let forms =
        known.map(|known| definition::forms(schema.unwrap_or(known), known)).unwrap_or_default();
    let is_list = forms.iter().any(|form| types(form).contains(&"array"));
    let value = match files.len() {
        1 if !is_list => files.remove(0),
        _ if is_list || forms.is_empty() => Value::Array(files),
        count => {
            let said = format!("input `{name}` takes one file, not {count}");
            return Err(CliError::usage(said));
        }
    };
    fields.insert(name.to_owned(), value);
    Ok(())
}

fn whole(args: &InputArgs) -> Result<Value> {
    let (what, text) = match (&args.input_json, &args.input_file) {
        (Some(text), _) => ("--input-json".to_owned(), text.clone()),
        (None, Some(path)) => (path.display().to_string(), crate::cli::source::read(path)?),
        (None, None) => return Ok(Value::Object(Map::new())),
    };
    serde_json::from_str(&text)
        .map_err(|error| CliError::usage(format!("`{what}` does not hold JSON: {error}")))
}

/// Each name with its values in order, and its first argument as it was typed.
type Pairs = BTreeMap<String, (Vec<String>, String)>;

fn pairs(args: &[String]) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    for arg in args {
        let Some((name, text)) = arg.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(CliError::usage(format!("`--input {arg}` is not of the form NAME=VALUE"))
                .hint(format!("write it like: --input {}=...", correct::quote(arg))));
        };
        let entry = pairs.entry(name.to_owned()).or_insert_with(|| (Vec::new(), arg.clone()));
        entry.0.push(text.to_owned());
    }
    Ok(pairs)
}

fn field_schema<'s>(schema: Option<&'s Value>, name: &str) -> Option<&'s Value> {
    schema?.get("properties")?.get(name)
}

/// Refuses a name that the schema rules out, with the command that was meant.
fn check_name(schema: Option<&Value>, name: &str, arg: &str) -> Result<()> {
    let Some(schema) = schema else { return Ok(()) };
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    let names = || known.keys().map(String::as_str);
    let near = nearest(name, names());
    // A schema that is open takes any name; one letter off a known one is a slip all the same,
    // but only a closed schema makes it an error.
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Ok(());
    }
    let corrected = near.map(|near| arg.replacen(name, near, 1));
    let list = names().collect::<Vec<_>>().join(", ");
    Err(CliError::usage(format!("the workflow has no input `{name}`"))
        .maybe_hint(correct::hint(arg, corrected.as_deref()))
        .hint(format!("its inputs are: {list}")))
}

/// The value of one field, which may have several forms.
fn value(name: &str, forms: &[&Value], root: &Value, texts: &[String]) -> Result<Value> {
    let list = forms.iter().find(|form| types(form).contains(&"array"));
    match (texts, list) {
        ([text], Some(_)) if text.trim_start().starts_with('[') => json(name, text),
        (_, Some(list)) => {
            let items = list.get("items").map(|items| definition::forms(root, items));
            let items = items.unwrap_or_default();
            texts.iter().map(|text| scalar(name, &items, text)).collect()
        }
        ([text], None) => scalar(name, forms, text),
        _ => Err(CliError::usage(format!(
            "input `{name}` is given {} times and is not an array",
            texts.len()
        ))),
    }
}

/// The first type among those allowed that the text can be.
fn scalar(name: &str, forms: &[&Value], text: &str) -> Result<Value> {
    let allowed: Vec<&str> = forms.iter().flat_map(|form| types(form)).collect();
    if allowed.is_empty() {
        return Ok(Value::String(text.to_owned()));
    }
    // Where a file is meant, a brace opens its reference; as a path it would only not be found.
    let is_reference =
        text.trim_start().starts_with('{') && forms.iter().any(|it| paths::is_path(it));
    for kind in ["integer", "number", "boolean", "null", "object", "array", "string"] {
        if !allowed.contains(&kind) {
            continue;
        }
        let read = match kind {
            "string" => Some(Value::String(text.to_owned())),
            "object" if is_reference => Some(json(name, text).map_err(|error| {
                error.hint(format!("a path that begins with a brace is written: ./{text}"))
            })?),
            "object" | "array" if allowed.len() == 1 => Some(json(name, text)?),
            _ => serde_json::from_str(text).ok().filter(|value| is_a(value, kind)),
        };
        if let Some(value) = read {
            return Ok(value);
        }
    }
    let list = allowed.join(" or ");
    Err(CliError::usage(format!("input `{name}` takes {list}, not `{text}`")))
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => false,
    }
}

fn json(name: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| CliError::usage(format!("input `{name}` does not hold JSON: {error}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "video": { "type": "string" },
                "file": { "type": "string", "format": "path" },
                "words": { "type": "integer" },
                "speed": { "type": "number" },
                "burn": { "type": "boolean" },
                "langs": { "type": "array", "items": { "type": "string" } },
                "sizes": { "type": "array", "items": { "type": "integer" } },
                "style": { "type": "object" },
                "limit": { "type": ["integer", "null"] },
                "any": {},
                "movie": { "anyOf": [
                    { "type": "string", "format": "path-or-url" },
                    { "type": "object", "required": ["artifact"] },
                ] },
                "movies": { "type": "array", "items": { "$ref": "#/properties/movie" } },
                "rate": { "oneOf": [{ "type": "number" }, { "enum": ["auto"] }] },
            },
        })
    }

    fn read(pairs: &[&str]) -> Result<Value> {
        let pairs = pairs.iter().map(ToString::to_string).collect();
        gather(&InputArgs { pairs, ..InputArgs::default() }, Some(&schema()))
    }

    #[test]
    fn values_are_read_by_their_type() {
        let table = [
            (vec!["video=a=b.mp4"], json!({ "video": "a=b.mp4" })),
            (vec!["video=3"], json!({ "video": "3" })),
            (vec!["words=3"], json!({ "words": 3 })),
            (vec!["speed=1.5"], json!({ "speed": 1.5 })),
            (vec!["burn=true"], json!({ "burn": true })),
            (vec!["langs=en", "langs=de"], json!({ "langs": ["en", "de"] })),
            (vec!["langs=en"], json!({ "langs": ["en"] })),
            (vec!["sizes=[1,2]"], json!({ "sizes": [1, 2] })),
            (vec!["sizes=1", "sizes=2"], json!({ "sizes": [1, 2] })),
            (vec![r#"style={"a":1}"#], json!({ "style": { "a": 1 } })),
            (vec!["limit=null"], json!({ "limit": null })),
            (vec!["limit=4"], json!({ "limit": 4 })),
            (vec!["any=4"], json!({ "any": "4" })),
            (vec!["file=/a/b.mp4"], json!({ "file": "/a/b.mp4" })),
            (vec!["file=http://h/b.mp4"], json!({ "file": "http://h/b.mp4" })),
            (vec!["movie=/a/b.mp4"], json!({ "movie": "/a/b.mp4" })),
            (vec![r#"movie={"artifact":"0"}"#], json!({ "movie": { "artifact": "0" } })),
            (vec!["movies=/a", "movies=/b"], json!({ "movies": ["/a", "/b"] })),
            (vec!["movies=/a"], json!({ "movies": ["/a"] })),
            (
                vec!["movies=http://h/a", r#"movies={"artifact":"0"}"#],
                json!({ "movies": ["http://h/a", { "artifact": "0" }] }),
            ),
            (vec!["rate=2.5"], json!({ "rate": 2.5 })),
            (vec!["rate=auto"], json!({ "rate": "auto" })),
        ];
        for (pairs, expected) in table {
            assert_eq!(read(&pairs), Ok(expected), "{pairs:?}");
        }
    }

    #[test]
    fn relative_paths_are_made_absolute() {
        let here = std::env::current_dir().unwrap();
        let at = |name: &str| here.join(name).display().to_string();
        let table = [
            (vec!["file=b.mp4"], json!({ "file": at("b.mp4") })),
            (vec!["file=-i"], json!({ "file": at("-i") })),
            (vec!["movie=b.mp4"], json!({ "movie": at("b.mp4") })),
            (vec!["movie=./{b}"], json!({ "movie": at("{b}") })),
            (vec!["movies=a", "movies=/b"], json!({ "movies": [at("a"), "/b"] })),
            (vec![r#"movies=["a", "https://h/b"]"#], json!({ "movies": [at("a"), "https://h/b"] })),
            (vec!["video=b.mp4"], json!({ "video": "b.mp4" })),
        ];
        for (pairs, expected) in table {
            assert_eq!(read(&pairs), Ok(expected), "{pairs:?}");
        }
        let input_json = Some(r#"{"movies":["a"],"words":"b"}"#.to_owned());
        let whole = InputArgs { input_json, ..InputArgs::default() };
        let expected = json!({ "movies": [at("a")], "words": "b" });
        assert_eq!(gather(&whole, Some(&schema())), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_name() {
        let table = [
            (vec!["words=three"], "input `words` takes integer, not `three`"),
            (vec!["words=1.5"], "input `words` takes integer, not `1.5`"),
            (vec!["burn=yes"], "input `burn` takes boolean, not `yes`"),
            (vec!["video=a", "video=b"], "input `video` is given 2 times"),
            (vec!["video"], "`--input video` is not of the form NAME=VALUE"),
            (vec!["=a"], "`--input =a` is not of the form NAME=VALUE"),
            (vec!["vidoe=a"], "the workflow has no input `vidoe`"),
            (
                vec!["words=abc", "burn=x", "speed=1"],
                "error: these inputs cannot be taken\n  input `burn` takes boolean, not `x`\n  \
                 input `words` takes integer, not `abc`",
            ),
            (vec!["style={"], "input `style` does not hold JSON"),
            (vec!["movie={a"], "hint: a path that begins with a brace is written: ./{a"),
            (vec!["movie=a", "movie=b"], "input `movie` is given 2 times and is not an array"),
            (vec!["movies=[a"], "input `movies` does not hold JSON"),
        ];
        for (pairs, expected) in table {
            let error = read(&pairs).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.exit, crate::cli::error::Exit::Usage);
        }
    }

    #[test]
    fn files_are_set_one_by_one_or_as_a_list() {
        let file = |n: u32| json!({ "artifact": n });
        let set = |name: &str, files: Vec<Value>| {
            let mut input = json!({ "words": 3 });
            set_files(&mut input, Some(&schema()), (name, "arg"), files)?;
            Ok::<_, CliError>(input[name].clone())
        };
        assert_eq!(set("movie", vec![file(1)]), Ok(file(1)));
        assert_eq!(set("movies", vec![file(1)]), Ok(json!([file(1)])));
        assert_eq!(set("movies", vec![file(1), file(2)]), Ok(json!([file(1), file(2)])));
        for (name, files, expected) in [
            ("movie", vec![file(1), file(2)], "input `movie` takes one file, not 2"),
            ("words", vec![file(1)], "input `words` is given both as a value and with `--upload`"),
            ("movei", vec![file(1)], "the workflow has no input `movei`"),
        ] {
            let error = set(name, files).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut open = json!({});
        set_files(&mut open, None, ("clips", "arg"), vec![file(1), file(2)]).unwrap();
        assert_eq!(open, json!({ "clips": [file(1), file(2)] }));
    }

    #[test]
    fn single_fields_go_over_the_whole() {
        let args = InputArgs {
            pairs: vec!["words=4".into()],
            input_json: Some(r#"{"video":"a","words":3}"#.into()),
            input_file: None,
        };
        assert_eq!(gather(&args, Some(&schema())), Ok(json!({ "video": "a", "words": 4 })));
        let list = InputArgs { input_json: Some("[1]".into()), ..args };
        assert!(gather(&list, None).is_err());
    }
}
