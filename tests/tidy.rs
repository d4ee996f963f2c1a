//! The house rules, held by a test: arrows between the crates, lengths, words, habits, pages.
//!
//! Each rule is a test of its own; when it fails it lists every place with what to do there. Every
//! rule has been seen to fail on a planted offender: see the tests at the foot of its module. The
//! measures are printed by `cargo test --test tidy -- --nocapture figures`.

#[path = "tidy/habits.rs"]
mod habits;
#[path = "tidy/house.rs"]
mod house;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/measure.rs"]
mod measure;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/report.rs"]
mod report;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use house::house;
use measure::Target;
use report::{Offence, hold};

#[test]
fn crates_stand_in_the_line_of_the_design() {
    hold("arrows between crates", &manifest::arrows(&house().manifests));
}

#[test]
fn the_core_links_nothing_impure() {
    hold("the pure core", &manifest::pure_core(&house().manifests));
}

#[test]
fn one_dependency_table_and_one_lint_table() {
    let house = house();
    hold("shared tables", &manifest::shared_tables(&house.manifests));
    hold("the lint table", &manifest::lint_table(&house.root));
}

#[test]
fn every_dependency_is_used() {
    let house = house();
    let mentions = |package: &str, word: &str| {
        let mut sources = house.sources.iter().filter(|source| source.package == package);
        sources.any(|source| !source.find(word).is_empty())
    };
    hold("dependencies in use", &manifest::unused(&house.manifests, &house.root, mentions));
}

#[test]
fn every_file_belongs_to_a_target() {
    hold("no dead files", &house().dead);
}

#[test]
fn nothing_is_too_long() {
    hold("lengths", &measure::too_long(&house().sources));
}

#[test]
fn lengths_are_short_on_the_whole() {
    let remedy = "look at the longest with `--nocapture figures` and split them";
    hold("lengths on the whole", &missed(&measure::lengths(&house().sources), remedy));
}

#[test]
fn comments_have_their_share() {
    let target = measure::comment_share(&house().sources);
    hold("comments", &missed(&[target], "comments say why; the code says what"));
}

#[test]
fn tests_outweigh_the_code() {
    let remedy = "test what has no test yet";
    hold("test code", &missed(&measure::test_ratios(&house().sources), remedy));
}

#[test]
fn the_core_and_the_store_assert() {
    let remedy = "assert before the write and again after the read";
    hold("assertions", &missed(&measure::assertions(&house().sources), remedy));
}

#[test]
fn files_open_with_a_module_doc() {
    hold("module docs", &habits::module_docs(&house().sources));
}

#[test]
fn panics_say_why_they_cannot_happen() {
    hold("panics", &habits::panics(&house().sources));
}

#[test]
fn unsafe_stands_in_one_file() {
    hold("unsafe", &habits::unsafe_code(&house().sources));
}

#[test]
fn silenced_lints_say_why() {
    hold("silenced lints", &habits::silenced_lints(&house().sources));
}

#[test]
fn tests_stand_at_the_foot() {
    hold("tests at the foot", &habits::tests_at_foot(&house().sources));
}

#[test]
fn lib_files_are_tables_of_contents() {
    hold("lib.rs", &habits::lib_files(&house().sources));
}

#[test]
fn files_are_named_after_their_subject() {
    hold("file names", &habits::file_names(&house().sources));
}

#[test]
fn limits_have_one_place_a_unit_and_a_reason() {
    hold("limits", &habits::limits(&house().sources));
}

#[test]
fn banned_words_stay_out() {
    hold("banned words", &words::banned(&house().sources));
}

#[test]
fn processes_are_started_in_one_place() {
    hold("processes", &words::processes(&house().sources));
}

#[test]
fn no_shell_reads_our_text() {
    hold("shells", &words::shells(&house().sources));
}

#[test]
fn only_workflows_know_media() {
    hold("media words", &words::media(&house().sources));
}

#[test]
fn nothing_is_unfinished() {
    hold("unfinished work", &words::unfinished(&house().sources));
}

#[test]
fn every_error_code_has_its_page() {
    let page = house::read(pages::ERROR_PAGE).unwrap_or_default();
    hold("error codes", &pages::error_codes(&house().sources, &page));
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let files = house::project_files();
    let texts = files.iter().filter_map(|path| Some((path, house::read(path)?)));
    let offences: Vec<Offence> =
        texts.flat_map(|(path, text)| pages::machine_paths(path, &text)).collect();
    hold("paths", &offences);
}

/// Prints every measure beside its target.
#[test]
fn figures() {
    println!("{}", measure::table(&house().sources));
}

fn missed(targets: &[Target], remedy: &str) -> Vec<Offence> {
    targets.iter().filter_map(|target| target.offence(remedy)).collect()
}
