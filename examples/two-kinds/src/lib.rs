//! Two kinds of sandboxes side by side: Python works on the data, Node makes a page of it.

use cabana::{Code, Error, Handle, Result, protocol::exec::Exec, respond};
use worker::{Context, Env, Request, Response, event};

pub use cabana::Sandbox;

/// Sums the second column of a table by the first.
const SUM: &str = r#"
import csv, json
totals = {}
for name, amount in csv.reader(open("table.csv")):
    totals[name] = totals.get(name, 0) + float(amount)
json.dump(totals, open("totals.json", "w"))
"#;

/// Makes a list of the sums.
const RENDER: &str = r#"
const totals = JSON.parse(require("fs").readFileSync("totals.json"));
for (const [name, total] of Object.entries(totals)) console.log(`- ${name}: ${total.toFixed(2)}`);
"#;

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> worker::Result<Response> {
    respond(answer(request, env)).await
}

async fn answer(request: Request, env: Env) -> Result<Response> {
    let (python, node) = (Sandbox::get(&env, "python-data")?, Sandbox::get(&env, "node-scratch")?);
    // The bodies are streams of the runtime: no byte of them comes into this Worker's memory.
    python.write("table.csv", request).await?;
    run(&python, ["python3", "-c", SUM]).await?;
    node.write("totals.json", python.read("totals.json").await?).await?;
    Ok(Response::ok(run(&node, ["node", "-e", RENDER]).await?)?)
}

/// What a command prints. One that fails is an error here.
async fn run(sandbox: &Handle, command: impl Into<Exec>) -> Result<String> {
    let output = sandbox.exec(command).await?;
    if output.result.success() {
        return Ok(output.stdout.to_string());
    }
    Err(Error::new(Code::Unprocessable, format!("{}: {}", sandbox.id(), output.stderr)))
}
