//! A script gives the same bytes and the same exit through every form of `exec` as through a plain bash.
//!
//! The corpus is run by a bash that this test starts itself, in a directory of its own and with the sandbox's variables, and then by each
//! form in the sandbox. Nothing is normalised but the beginning of a session's messages: no script prints what differs from run to run, such
//! as a pid or its directory.

mod corpus;
mod form;
mod plain;

use cabana_protocol::{exec::Exit, system::Info};
use cabana_tests::{Sandbox, in_sandbox};
use corpus::{Case, script};
use form::Form;
use futures_util::{StreamExt, stream};
use plain::Plain;

/// What came of a script.
#[derive(PartialEq, Eq)]
struct Outcome {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Exit,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A mebibyte of noise says nothing to whoever reads of a difference.
        let shown =
            |bytes: &[u8]| format!("{} bytes: {:?}", bytes.len(), String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
        let (stdout, stderr) = (shown(&self.stdout), shown(&self.stderr));
        formatter.debug_struct("Outcome").field("stdout", &stdout).field("stderr", &stderr).field("exit", &self.exit).finish()
    }
}

/// Cases that run side by side.
const AT_ONCE: usize = 16;

/// Runs each case through each of these forms, side by side, and compares with a plain bash.
async fn compare(sandbox: &Sandbox, runs: Vec<(Case, Vec<Form>)>) {
    let shell = sandbox.call(Info {}).await.shell;
    let plain = Plain::new(&shell, &sandbox.exec(serde_json::json!({ "command": ["env", "-0"] })).await.stdout.0);
    let count: usize = runs.iter().map(|(_, forms)| forms.len()).sum();
    sandbox.shell(&format!("seq 0 {count} | xargs mkdir")).await;
    let mut directories = 0..;
    let runs = runs.into_iter().map(|(case, forms)| {
        let forms: Vec<_> = forms.into_iter().zip(directories.by_ref()).collect();
        (case, forms)
    });
    let differences = stream::iter(runs).map(async |(case, forms)| {
        let expected = plain.run(&case).await;
        let mut differences = String::new();
        for (form, directory) in forms {
            if form.fits(&case) {
                let outcome = form.run(sandbox, &shell, &case, &directory.to_string()).await;
                if !form.is_same(&outcome, &expected) {
                    differences += &format!("\n{form:?} of {:?}\n   gives {outcome:?}\n   where {expected:?}", case.script);
                }
            }
        }
        differences
    });
    let differences: String = differences.buffer_unordered(AT_ONCE).collect().await;
    assert!(differences.is_empty(), "{differences}");
}

async fn check(cases: &[Case]) {
    in_sandbox(async |sandbox| {
        compare(sandbox, cases.iter().map(|case| (case.clone(), Form::ALL.to_vec())).collect()).await;
    })
    .await;
}

macro_rules! groups {
    ($($name:ident: $cases:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            check(corpus::$cases).await;
        })*
    };
}

groups! {
    quoting: QUOTING,
    here_documents: HERE_DOCUMENTS,
    pipelines: PIPELINES,
    arrays: ARRAYS,
    arithmetic: ARITHMETIC,
    expansions: EXPANSIONS,
    patterns: PATTERNS,
    words: WORDS,
    bytes: BYTES,
    streams: STREAMS,
    sizes: SIZES,
    exits: EXITS,
    signals: SIGNALS,
    options: OPTIONS,
    functions: FUNCTIONS,
    subshells: SUBSHELLS,
    background: BACKGROUND,
    input: INPUT,
    replacement: REPLACEMENT,
    locales: LOCALES,
    builtins: BUILTINS,
}

/// Each code once; the forms take turns.
#[tokio::test]
async fn every_exit_code() {
    in_sandbox(async |sandbox| {
        let case = |code: usize| script(&*format!("exit {code}").leak());
        let forms: Vec<_> = Form::ALL.iter().copied().filter(|form| *form != Form::Live).collect();
        compare(sandbox, (0..=256).map(|code| (case(code), vec![forms[code % forms.len()]])).collect()).await;
    })
    .await;
}
