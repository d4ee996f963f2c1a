//! What is heard of a child process, and how much of it.

use std::sync::{Arc, Mutex};

use callsheet_actors::limits::{MAX_LINE_BYTES, OUTPUT_TAIL_BYTES};
use callsheet_actors::{Command, Engine, Finished, StepContext, StepError, StepResult, Submit};
use callsheet_storage::JobStatus;
use serde_json::{Value, json};

use crate::world::{eventually, run};

/// Runs a shell script as the one step of a job, in a command that the test has a hand in.
async fn sh(
    script: &'static str,
    change: impl Fn(Command) -> Command + Send + Sync + 'static,
) -> Result<Finished, StepError> {
    let answer = Arc::new(Mutex::new(None));
    let (change, answers) = (Arc::new(change), answer.clone());
    let body = move |_: Value, context: StepContext| {
        let (change, answers) = (change.clone(), answers.clone());
        async move {
            let ended = change(context.command("sh").args(["-c", script])).run().await;
            *answers.lock().unwrap() = Some(ended);
            Ok(())
        }
    };
    let engine = one_step(body).await;
    run(&engine).await;
    answer.lock().unwrap().take().unwrap()
}

async fn one_step<F, Fut>(body: F) -> Engine
where
    F: Fn(Value, StepContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = StepResult<()>> + Send + 'static,
{
    let text = "name: test\nsteps: [ { id: s, uses: body } ]";
    Engine::builder().in_memory().step_fn("body", body).workflow(text).open().await.unwrap()
}

#[tokio::test]
async fn lines_come_whole_whatever_ends_them() {
    let cases: [(&str, &[&str]); 5] = [
        ("printf 'one\\ntwo\\n'", &["one", "two"]),
        ("printf '1%%\\r2%%\\r\\n3%%'", &["1%", "2%", "3%"]),
        ("printf '\\n\\n'; printf 'last'", &["last"]),
        ("printf 'h'; sleep 0.05; printf 'alf\\n'", &["half"]),
        ("printf 'bad \\377 byte\\n'", &["bad \u{fffd} byte"]),
    ];
    for (script, lines) in cases {
        let heard = Arc::new(Mutex::new((Vec::new(), Vec::new())));
        let both: String = format!("{script}; ({script}) >&2");
        let (out, err) = (heard.clone(), heard.clone());
        sh(both.leak(), move |command| {
            let (out, err) = (out.clone(), err.clone());
            command
                .on_stdout(move |line| out.lock().unwrap().0.push(line.to_owned()))
                .on_stderr(move |line| err.lock().unwrap().1.push(line.to_owned()))
        })
        .await
        .unwrap();
        let (out, err) = heard.lock().unwrap().clone();
        assert_eq!(err, lines, "{script}");
        assert_eq!(out, lines, "{script}");
    }
}

#[tokio::test]
async fn an_endless_line_is_cut_and_what_follows_is_heard() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let lines = heard.clone();
    sh("head -c 200000 /dev/zero | tr '\\0' x; echo; echo next", move |command| {
        let lines = lines.clone();
        command.on_stdout(move |line| lines.lock().unwrap().push(line.to_owned()))
    })
    .await
    .unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!((heard[0].len(), heard[1].as_str(), heard.len()), (MAX_LINE_BYTES, "next", 2));
}

#[tokio::test]
async fn the_tail_is_kept_unless_all_is_asked_for() {
    const MUCH: &str = "seq 1 20000; seq 1 20000 >&2; echo end";
    let tail = sh(MUCH, |command| command).await.unwrap();
    assert_eq!((tail.stdout.len(), tail.stderr.len()), (OUTPUT_TAIL_BYTES, OUTPUT_TAIL_BYTES));
    assert!(tail.stdout.ends_with("20000\nend\n") && tail.stderr.ends_with("20000\n"));
    let all = sh(MUCH, Command::keep_stdout).await.unwrap();
    assert!(all.stdout.starts_with("1\n2\n") && all.stdout.ends_with("end\n"));
    assert_eq!(all.stderr.len(), OUTPUT_TAIL_BYTES);
}

#[tokio::test]
async fn a_child_that_prints_too_much_is_refused_and_not_tried_again() {
    let refused = sh("head -c 67108865 /dev/zero", Command::keep_stdout).await.unwrap_err();
    assert_eq!((refused.0.code.as_str(), refused.0.retryable), ("process.output", false));
    assert!(refused.0.message.contains("more than 67108864 bytes"), "{refused}");
}

#[tokio::test]
async fn standard_input_is_empty_and_the_environment_is_what_was_set() {
    let done =
        sh("cat; echo \"$WORD in $(pwd)\"", |command| command.env("WORD", "plum").current_dir("/"));
    assert_eq!(done.await.unwrap().stdout, "plum in /\n");
}

#[tokio::test]
async fn how_a_child_ended_is_told_in_words() {
    let cases = [
        ("kill -9 $$", "process.exit", "signal: 9"),
        ("echo half a word >&2; exit 7", "process.exit", "exit status: 7\nstandard error ends"),
    ];
    for (script, code, words) in cases {
        let failure = sh(script, |command| command).await.unwrap_err().0;
        assert_eq!((failure.code.as_str(), failure.retryable), (code, true));
        assert!(failure.message.contains(words), "{failure:?}");
    }
    let long = sh("exit 1", |command| command.args((0..500).map(|n| n.to_string()))).await;
    let said = long.unwrap_err().0.message;
    assert!(said.contains("sh -c exit 1 0 1 2") && said.contains(" …`"), "{said}");
    assert!(said.len() < 800, "{}", said.len());
}

#[tokio::test]
async fn a_program_that_may_not_be_run_may_be_later() {
    let said = Arc::new(Mutex::new(String::new()));
    let note = said.clone();
    let engine = one_step(move |_, context| {
        let note = note.clone();
        async move {
            let file = context.work_dir()?.join("no-program");
            std::fs::write(&file, "words")?;
            let ended = context.command(&file).run().await.unwrap_err().0;
            *note.lock().unwrap() = format!("{} {} {}", ended.code, ended.retryable, ended.message);
            Ok(())
        }
    })
    .await;
    run(&engine).await;
    let said = said.lock().unwrap().clone();
    assert!(said.starts_with("process.start true cannot start `"), "{said}");
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_process_that_a_library_started_is_ended_with_the_attempt_that_adopted_it() {
    let pid = Arc::new(Mutex::new(0));
    let told = pid.clone();
    let engine = one_step(move |_, context| {
        let told = told.clone();
        async move {
            context
                .clone()
                .blocking(move || {
                    let mut command = std::process::Command::new("sleep");
                    command.arg("600");
                    context.prepare(&mut command);
                    let mut child = command.spawn()?;
                    let adopted = context.adopt(child.id());
                    *told.lock().unwrap() = child.id();
                    child.wait()?;
                    drop(adopted);
                    Ok(())
                })
                .await
        }
    })
    .await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    eventually("the child was started", || *pid.lock().unwrap() != 0).await;
    let pid = *pid.lock().unwrap();
    assert!(exists(pid));
    job.cancel(None).await.unwrap();
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    assert!(!exists(pid), "ended and reaped before the job is called cancelled");
}

#[tokio::test]
async fn a_process_that_was_let_go_is_left_alone() {
    let child = Arc::new(Mutex::new(None));
    let given = child.clone();
    let engine = one_step(move |_, context| {
        let given = given.clone();
        async move {
            let mut command = std::process::Command::new("sleep");
            command.arg("600");
            context.prepare(&mut command);
            let child = command.spawn()?;
            drop(context.adopt(child.id()));
            *given.lock().unwrap() = Some(child);
            std::future::pending().await
        }
    })
    .await;
    let job = engine.submit(Submit::named("test", json!({}))).await.unwrap().job;
    eventually("the child was started", || child.lock().unwrap().is_some()).await;
    job.cancel(None).await.unwrap();
    assert_eq!(job.wait().await.unwrap().head.status, JobStatus::Cancelled);
    let mut child = child.lock().unwrap().take().unwrap();
    assert!(child.try_wait().unwrap().is_none(), "nobody has ended it");
    child.kill().unwrap();
    child.wait().unwrap();
}
