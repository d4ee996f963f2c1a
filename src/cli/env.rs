//! Every environment variable that the command reads, in one place: there are no hidden switches.
//!
//! Providers read their own keys (`OPENAI_API_KEY`); those are named where the providers are.

/// The data directory of `serve`, `run` and the commands for whole stores.
pub(crate) const DATA_DIR: &str = "CALLSHEET_DATA_DIR";

/// The server that `upload`, `submit`, `jobs`, `show`, `cancel`, `resolve` and `backup` talk to.
pub(crate) const SERVER: &str = "CALLSHEET_SERVER";

/// The token that a server asks for and a client sends.
pub(crate) const TOKEN: &str = "CALLSHEET_TOKEN";

/// What signs webhooks: those of a server that have no secret of their own, and that of a submit.
pub(crate) const WEBHOOK_SECRET: &str = "CALLSHEET_WEBHOOK_SECRET";

/// What is logged: a filter such as `debug` or `info,callsheet_actors=debug`.
pub(crate) const LOG: &str = "CALLSHEET_LOG";

/// All of them with their meaning, for the foot of `callsheet --help` and for the tests.
pub(crate) const ALL: [(&str, &str); 5] = [
    (DATA_DIR, "data directory of serve, run, restore, verify and compact"),
    (SERVER, "address of the server that submit, jobs, show and their kin talk to"),
    (TOKEN, "token that a server asks for and that a client sends"),
    (WEBHOOK_SECRET, "what signs webhooks, of serve and of submit"),
    (LOG, "what is logged, such as `debug` or `info,callsheet_actors=debug`"),
];

/// The value of a variable that is set to something.
pub(crate) fn get(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_listed_once_and_is_ours() {
        let mut names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
        assert!(names.iter().all(|name| name.starts_with("CALLSHEET_")));
        names.dedup();
        assert_eq!(names, [DATA_DIR, SERVER, TOKEN, WEBHOOK_SECRET, LOG]);
    }

    #[test]
    fn the_reference_names_each_variable() {
        let page = include_str!("../../docs/reference/command.md");
        for (name, _) in ALL {
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not in docs/reference/command.md"
            );
        }
    }
}
