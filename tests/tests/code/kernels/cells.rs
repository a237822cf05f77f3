//! Cells: what they show, and what they keep.

use cabana_protocol::code::{RunEvent, RunStatus};
use cabana_tests::in_sandbox;
use serde_json::{Value, json};

use super::{create, python, run, stream};

#[tokio::test(flavor = "multi_thread")]
async fn cells_keep_variables_and_give_the_last_value() {
    in_sandbox(async |sandbox| {
        let first = python(sandbox, "x = 41\nprint('printed')").await;
        let result = &first.result;
        assert_eq!((result.status, result.state_kept, result.execution_count), (RunStatus::Ok, true, Some(1)), "{first:?}");
        assert_eq!((first.logs.stdout.as_str(), first.text), ("printed\n", None));
        let second = python(sandbox, "import sys\nprint('aside', file=sys.stderr)\nx + 1").await;
        assert_eq!((second.text.as_deref(), second.logs.stderr.as_str()), (Some("42"), "aside\n"));
        assert_eq!((second.result.execution_count, second.result.context), (Some(2), first.result.context));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_told_while_the_cell_runs() {
    in_sandbox(async |sandbox| {
        let code = "import time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.3)\n'done'";
        let (events, result) = stream(sandbox, code).await;
        assert!(matches!(&events[0], RunEvent::Started { language, created: true, .. } if language == "python"), "{events:?}");
        assert!(events.contains(&RunEvent::Executing { execution_count: 1 }), "{events:?}");
        let pieces = events.iter().filter(|event| matches!(event, RunEvent::Stdout { .. })).count();
        assert!(pieces > 1, "all was told at once: {events:?}");
        let value = events.last().unwrap();
        assert!(matches!(value, RunEvent::Value { data, .. } if data["text/plain"] == "'done'"), "{value:?}");
        assert_eq!(result.status, RunStatus::Ok);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_and_syntax_errors_are_results() {
    in_sandbox(async |sandbox| {
        for (code, name) in
            [("1 / 0", "ZeroDivisionError"), ("def f(:", "SyntaxError"), ("import nothing_of_this_name", "ModuleNotFoundError")]
        {
            let output = python(sandbox, code).await;
            let error = output.error.unwrap();
            assert_eq!((output.result.status, output.result.state_kept, error.name.as_str()), (RunStatus::Error, true, name));
            let traceback = error.traceback.join("\n");
            assert!(traceback.contains(name) && !traceback.contains('\u{1b}'), "{traceback:?}");
        }
        assert_eq!(python(sandbox, "'still here'").await.text.as_deref(), Some("'still here'"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_that_the_kernel_gives_arrives() {
    in_sandbox(async |sandbox| {
        let code = "from IPython.display import *\nimport base64\n\
            display(HTML('<b>h</b>'), Markdown('*m*'), Latex('$x$'), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'), JSON({'a': [1]}))\n\
            display({'application/vnd.plotly.v1+json': {'data': [1]}, 'application/vnd.vegalite.v5+json': {'mark': 'bar'}}, raw=True)\n\
            display({'image/jpeg': base64.b64encode(b'jpeg').decode()}, raw=True)";
        let shown = python(sandbox, code).await;
        assert_eq!(shown.error, None);
        let find = |name: &str| shown.results.iter().find_map(|output| output.data.get(name)).cloned().unwrap_or_default();
        for (name, value) in [
            ("text/html", json!("<b>h</b>")),
            ("text/markdown", json!("*m*")),
            ("text/latex", json!("$x$")),
            ("application/json", json!({ "a": [1] })),
            ("application/vnd.plotly.v1+json", json!({ "data": [1] })),
            ("application/vnd.vegalite.v5+json", json!({ "mark": "bar" })),
        ] {
            assert_eq!(find(name), value, "{name}");
        }
        assert!(find("image/svg+xml").as_str().unwrap().contains("<svg"));
        assert_eq!(find("image/jpeg").as_str().unwrap().trim(), "anBlZw==");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_plots_are_shown() {
    in_sandbox(async |sandbox| {
        let table = python(sandbox, "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2, 3]})\ndf").await;
        assert!(table.results[0].data["text/html"].as_str().unwrap().contains("<table"), "{table:?}");
        let sum = python(sandbox, "int(df['a'].sum())").await;
        assert_eq!(sum.text.as_deref(), Some("6"));
        let plot = python(sandbox, "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()").await;
        let png = plot.results.iter().find_map(|output| output.data.get("image/png")).and_then(Value::as_str).unwrap();
        assert!(png.starts_with("iVBOR"), "no PNG: {}", &png[..40]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn display_updates_and_clearing_are_performed() {
    in_sandbox(async |sandbox| {
        let code = "from IPython.display import *\nh = display('one', display_id='a')\nprint('gone')\nclear_output()\n\
            h = display('two', display_id='a')\nh.update('three')\nprint('kept')";
        let output = python(sandbox, code).await;
        let shown: Vec<_> = output.results.iter().map(|output| output.data["text/plain"].clone()).collect();
        assert_eq!((shown, output.logs.stdout.as_str()), (vec![json!("'three'")], "kept\n"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documentation_that_a_cell_asks_for_is_shown() {
    in_sandbox(async |sandbox| {
        let output = python(sandbox, "print('before')\nzip?").await;
        assert_eq!((output.result.status, output.logs.stdout.as_str()), (RunStatus::Ok, "before\n"), "{output:?}");
        let text = output.results[0].data["text/plain"].as_str().unwrap();
        assert!(text.contains("Docstring") && !text.contains('\u{1b}'), "{text:?}");
        assert_eq!((output.results.len(), output.results[0].is_value, output.text), (1, false, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_are_isolated_and_start_as_they_are_told() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p sub").await;
        let named = json!({ "name": "one", "cwd": "sub", "env": { "MODE": "test" } });
        let one = create(sandbox, named.clone()).await;
        let two = create(sandbox, json!({})).await;
        assert_eq!(create(sandbox, named).await, one);
        let differs = sandbox.post("code.create", json!({ "name": "one" })).await;
        let fields = differs.json()["error"]["details"]["differs"].clone();
        assert_eq!((differs.code().as_str(), fields), ("conflict", json!(["cwd", "env"])));
        run(sandbox, json!({ "code": "x = 1", "context": "one" })).await;
        let code = "import os\nos.path.basename(os.getcwd()), os.environ['MODE'], x";
        let told = run(sandbox, json!({ "code": code, "context": one })).await;
        assert_eq!(told.text.as_deref(), Some("('sub', 'test', 1)"));
        let other = run(sandbox, json!({ "code": "x", "context": two })).await;
        assert_eq!(other.error.unwrap().name, "NameError");
        let list = sandbox.post("code.list", json!({})).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
        assert!(list["kernels"].as_array().unwrap().contains(&json!("python3")), "{list}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_set_directory_and_variables_which_stay() {
    in_sandbox(async |sandbox| {
        sandbox.shell("mkdir -p 'sub dir'").await;
        let code = "import os\nos.path.basename(os.getcwd()), os.environ.get('MODE'), os.environ.get('HOME')";
        let set = json!({ "code": code, "cwd": "sub dir", "env": { "MODE": "a\"b\n", "HOME": null } });
        let expected = "('sub dir', 'a\"b\\n', None)";
        assert_eq!(run(sandbox, set).await.text.as_deref(), Some(expected));
        assert_eq!(python(sandbox, code).await.text.as_deref(), Some(expected));
        let missing = sandbox.post("code.run", json!({ "code": "1", "cwd": "nowhere" })).await;
        assert_eq!(missing.code(), "unprocessable", "{}", missing.json());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_of_one_context_take_turns() {
    in_sandbox(async |sandbox| {
        python(sandbox, "log = []").await;
        let code = |n: usize| format!("log.append({n})\nimport time\ntime.sleep(0.05)\nlog.append({n})");
        let runs = (0..5).map(|n| {
            let code = code(n);
            async move { python(sandbox, &code).await.result.execution_count.unwrap() }
        });
        let mut counts = futures_util::future::join_all(runs).await;
        counts.sort_unstable();
        assert_eq!(counts, [2, 3, 4, 5, 6]);
        let pairs = python(sandbox, "all(a == b for a, b in zip(log[::2], log[1::2])), len(log)").await;
        assert_eq!(pairs.text.as_deref(), Some("(True, 10)"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_write_to_descriptor_1_corrupt_nothing() {
    in_sandbox(async |sandbox| {
        let code = "import os, subprocess\nos.write(1, b'raw\\n')\nsubprocess.run(['echo', 'child'])\n!echo shell";
        let output = python(sandbox, code).await;
        assert_eq!(output.result.status, RunStatus::Ok, "{output:?}");
        for line in ["raw", "child", "shell"] {
            assert!(output.logs.stdout.contains(line), "{line} is missing: {:?}", output.logs);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_bounded_and_the_end_arrives() {
    in_sandbox(async |sandbox| {
        let large = python(sandbox, "print('x' * 20_000_000)\n'end'").await;
        assert_eq!((large.result.status, large.text.as_deref(), large.truncated), (RunStatus::Ok, Some("'end'"), true));
        assert!(large.logs.stdout.len() < 3 << 20);
        let many = python(sandbox, "from IPython.display import *\nfor i in range(3000):\n    display(i)\n'end'").await;
        assert_eq!(many.result.status, RunStatus::Ok);
        assert_eq!(python(sandbox, "'next'").await.text.as_deref(), Some("'next'"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_output_of_threads_keeps_its_cell() {
    in_sandbox(async |sandbox| {
        let code = "import os, threading, time\n\
            def late():\n    while not os.path.exists('go'): time.sleep(0.02)\n    print('late')\n\
            threading.Thread(target=late).start()";
        let context = python(sandbox, code).await.result.context;
        sandbox.shell("touch go").await;
        cabana_tests::until("the late output is in its cell", async || {
            let notebook = sandbox.post("code.export", json!({ "context": context })).await.json()["notebook"].clone();
            notebook["cells"][0]["outputs"][0]["text"] == "late\n"
        })
        .await;
        assert_eq!(python(sandbox, "print('own')").await.logs.stdout, "own\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_exported_as_a_notebook() {
    in_sandbox(async |sandbox| {
        let context = python(sandbox, "print('one')\n2").await.result.context;
        python(sandbox, "1 / 0").await;
        let notebook = sandbox.post("code.export", json!({ "context": context })).await.json()["notebook"].clone();
        let kernel = &notebook["metadata"]["kernelspec"]["name"];
        assert_eq!((notebook["nbformat"].as_u64(), kernel.as_str()), (Some(4), Some("python3")));
        assert_eq!(notebook["metadata"]["language_info"]["name"], "python");
        let shown = |cell: &Value| {
            let outputs = cell["outputs"].as_array().unwrap();
            json!([cell["source"], cell["execution_count"], outputs.iter().map(|one| &one["output_type"]).collect::<Vec<_>>()])
        };
        let cells: Vec<_> = notebook["cells"].as_array().unwrap().iter().map(shown).collect();
        assert_eq!(cells, [json!(["print('one')\n2", 1, ["stream", "execute_result"]]), json!(["1 / 0", 2, ["error"]])]);
    })
    .await;
}
