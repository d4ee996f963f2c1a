//! Programs that read what strangers made run shut in: without a network, without the files of this
//! machine, with nothing to write to but the directory of their job.
//!
//! The white lists of `media` keep ffmpeg from opening anything else as long as it works as meant.
//! The sandbox is for the day on which a film makes it do otherwise. It is made by bubblewrap
//! (`bwrap`), which needs no rights of its own where the kernel gives namespaces to everybody.

mod access;
mod verdict;

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::str::FromStr;

use callsheet_actors::{Command, StepContext, StepError, StepResult};

pub(crate) use access::Access;
use verdict::verdict;

use crate::tools::{FFMPEG, FFPROBE, POCKETSPHINX, find, install_hint};

/// The program that makes sandboxes.
const BWRAP: &str = "bwrap";

/// The codes by which it says that the program was ended by a signal: 128 and the signal's number.
const KILLED: RangeInclusive<i32> = 129..=159;

/// What of the engine's environment a child is given: where programs are, and how to write. Keys
/// and tokens of the engine are not among it.
const PASSED_ON: [&str; 5] = ["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// Whether ffmpeg, ffprobe and the recogniser are shut in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Where it works; elsewhere they run without.
    #[default]
    Auto,
    /// Always; where it does not work, steps that need them fail with `sandbox.unavailable`.
    Require,
    /// Never.
    Off,
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is none of `auto`, `require` and `off`")),
        }
    }
}

/// How programs are run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// Shut in.
    Confined,
    /// Not shut in, since it does not work here: why.
    Unavailable(String),
    /// Not shut in, since nobody wants it.
    Off,
}

impl Sandbox {
    /// How programs are run here: shut in when all that there are can be. Finds out by a run of
    /// each, once in the life of the process.
    #[must_use]
    pub fn confinement(self) -> Confinement {
        if self == Self::Off {
            return Confinement::Off;
        }
        let Some(nothing) = find("true") else {
            let why = "there is no program `true` to try it with";
            return Confinement::Unavailable(why.to_owned());
        };
        let tools = [FFMPEG, FFPROBE, POCKETSPHINX].into_iter().filter_map(find);
        let mut each = std::iter::once(nothing).chain(tools).map(|it| self.of_program(&it));
        each.find(|it| *it != Confinement::Confined).unwrap_or(Confinement::Confined)
    }

    /// How one program is run here.
    fn of_program(self, program: &Path) -> Confinement {
        match self {
            Self::Off => Confinement::Off,
            Self::Auto | Self::Require => match verdict(program) {
                Ok(()) => Confinement::Confined,
                Err(why) => Confinement::Unavailable(why),
            },
        }
    }

    /// What the program that registered the steps has chosen.
    fn of(context: &StepContext) -> Self {
        context.provided().copied().unwrap_or_default()
    }

    /// The words that stand before a program: those that shut it in, or none.
    ///
    /// # Errors
    /// `sandbox.unavailable` when it must be shut in and cannot be.
    fn words(
        self,
        confinement: Confinement,
        program: PathBuf,
        access: &Access,
    ) -> StepResult<Vec<OsString>> {
        match confinement {
            Confinement::Confined => Ok(access.words(&program)),
            Confinement::Unavailable(why) if self == Self::Require => {
                let message = format!("there is no sandbox here: {why}");
                Err(StepError::fatal("sandbox.unavailable", message)
                    .with_hint("apt-get install bubblewrap; see `docs/guide/operations.md`"))
            }
            Confinement::Unavailable(_) | Confinement::Off => Ok(vec![program.into()]),
        }
    }
}

/// The words of a command that runs a program within bounds: its own name last, so that its
/// arguments follow.
///
/// # Errors
/// `process.not_found` when there is no such program; `sandbox.unavailable`.
pub(crate) fn confined(
    program: &str,
    access: &Access,
    context: &StepContext,
) -> StepResult<Vec<OsString>> {
    let Some(path) = find(program) else {
        let message = format!("there is no program `{program}`");
        let missing = StepError::fatal("process.not_found", message);
        return Err(missing.with_hint(install_hint(program).unwrap_or_default()));
    };
    let sandbox = Sandbox::of(context);
    sandbox.words(sandbox.of_program(&path), path, access)
}

/// A command that runs a program within bounds; its arguments follow. It is killed without a grace
/// when the attempt is stopped, for what it writes is thrown away with it.
///
/// # Errors
/// As [`confined`].
pub(crate) fn command(
    program: &str,
    access: &Access,
    context: &StepContext,
) -> StepResult<Command> {
    let words = confined(program, access, context)?;
    // The program's own path says nothing to a reader of messages; its name does.
    let command = match words.as_slice() {
        [wrapper, arguments @ .., path] => {
            context.command(wrapper).args(arguments).wrapping(program).arg(path)
        }
        _ => context.command(program),
    };
    let command = command.clear_env().disposable();
    Ok(environment().fold(command, |command, (name, value)| command.env(name, value)))
}

/// Whether a program that ran as [`confined`] says was ended by a signal.
pub(crate) fn was_killed(status: ExitStatus, context: &StepContext) -> bool {
    let is_shut_in = || Sandbox::of(context).confinement() == Confinement::Confined;
    status.code().is_none_or(|code| KILLED.contains(&code) && is_shut_in())
}

/// Whether a program ended with what loaders and shells say of one that they could not begin.
pub(crate) fn never_began(code: i32) -> bool {
    matches!(code, 126 | 127)
}

/// What a child is given of the engine's environment.
pub(crate) fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use callsheet_actors::{Engine, Submit};
    use serde_json::{Value, json};

    use super::*;

    /// What a program tries, and what it says when it gets through.
    const ATTEMPTS: [(&str, &str); 8] = [
        ("read another file", "cat CANARY"),
        ("look around", "ls HERE | grep canary"),
        ("write to its input", "echo x >> INPUT"),
        ("leave its directory", "echo x > HERE/new"),
        ("call a server", "exec 3<>/dev/tcp/127.0.0.1/PORT"),
        ("see other processes", "ls /proc/1"),
        ("read passwords", "cat /etc/passwd"),
        ("write into a terminal", "echo x > /dev/tty"),
    ];

    /// What it may do.
    const ALLOWED: [(&str, &str); 3] = [
        ("read its input", "cat INPUT"),
        ("write in its directory", "echo x > out && cat out"),
        ("run programs", "true"),
    ];

    /// Runs scripts as children of an attempt; says which of them ended well.
    async fn outcomes(mode: Sandbox, scripts: Vec<String>, input: PathBuf) -> Value {
        let body = move |_: Option<Value>, context: StepContext| {
            let (scripts, input) = (scripts.clone(), input.clone());
            async move {
                let work = context.work_dir()?.to_owned();
                let access = Access::default().inside(&work).read(&input);
                let mut ended = Vec::new();
                for script in scripts {
                    let command = command("bash", &access, &context)?.args(["-c", &script]);
                    ended.push(command.current_dir(&work).run().await.is_ok());
                }
                Ok(json!(ended))
            }
        };
        let builder = Engine::builder().in_memory().provide(mode).step_fn("try", body);
        let engine = builder.open().await.unwrap();
        let definition = r#"{ "name": "try", "output": "{{ steps.it }}",
            "steps": [{ "id": "it", "uses": "try", "with": null }] }"#;
        let plan = engine.validate(definition).unwrap();
        let job = engine.submit(Submit::plan(plan, Value::Null)).await.unwrap().job;
        let view = job.wait().await.unwrap();
        view.state.output().unwrap_or_else(|| panic!("{:?}", view.state.failure())).clone()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_program_that_is_shut_in_reaches_nothing_else() {
        let here = tempfile::tempdir().unwrap();
        let (canary, input) = (here.path().join("canary"), here.path().join("input"));
        std::fs::write(&canary, "secret").unwrap();
        std::fs::write(&input, "film").unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let fill = |(_, script): &(&str, &str)| {
            let port = server.local_addr().unwrap().port().to_string();
            let script = script.replace("CANARY", canary.to_str().unwrap());
            let script = script.replace("INPUT", input.to_str().unwrap()).replace("PORT", &port);
            script.replace("HERE", here.path().to_str().unwrap())
        };
        let scripts: Vec<String> = ALLOWED.iter().chain(&ATTEMPTS).map(fill).collect();
        if let Confinement::Unavailable(why) = Sandbox::Auto.confinement() {
            eprintln!("NOT TESTED: there is no sandbox here: {why}");
            return;
        }
        let confined = outcomes(Sandbox::Require, scripts.clone(), input.clone()).await;
        for (n, (what, _)) in ALLOWED.iter().chain(&ATTEMPTS).enumerate() {
            assert_eq!(confined[n], n < ALLOWED.len(), "{what}");
        }
        assert_eq!(std::fs::read_to_string(&input).unwrap(), "film");
        // That the attempts are such as succeed where nothing keeps them, or they say nothing. A
        // terminal there may not be.
        let open = outcomes(Sandbox::Off, scripts, input).await;
        for (n, (what, _)) in ALLOWED.iter().chain(&ATTEMPTS[..7]).enumerate() {
            assert_eq!(open[n], true, "{what}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_secret_of_the_engine_is_in_the_environment() {
        let printed = "env | cut -d= -f1 | grep -qvE '^(PATH|LANG|LC_ALL|LC_CTYPE|TZ|PWD|OLDPWD\
            |SHLVL|_|CALLSHEET_WORK_ROOT)$'";
        for mode in [Sandbox::Auto, Sandbox::Off] {
            let input = std::env::current_exe().unwrap();
            let found = outcomes(mode, vec![format!("! {{ {printed}; }}")], input).await;
            assert_eq!(found, json!([true]), "{mode:?}");
        }
    }

    #[test]
    fn a_sandbox_that_must_be_there_and_is_not_is_an_error() {
        let access = Access::default();
        let words = |sandbox: Sandbox, confinement: Confinement| {
            let words = sandbox.words(confinement, "/usr/bin/ffmpeg".into(), &access);
            words.map(|words| words.len() > 1).map_err(|error| error.0.code)
        };
        let missing = || Confinement::Unavailable("`bwrap` is not installed".to_owned());
        assert_eq!(words(Sandbox::Auto, missing()), Ok(false));
        assert_eq!(words(Sandbox::Auto, Confinement::Confined), Ok(true));
        assert_eq!(words(Sandbox::Require, missing()), Err("sandbox.unavailable".to_owned()));
        assert_eq!(words(Sandbox::Off, Sandbox::Off.confinement()), Ok(false));
        assert_eq!("require".parse(), Ok(Sandbox::Require));
        assert!("sometimes".parse::<Sandbox>().is_err());
    }
}
