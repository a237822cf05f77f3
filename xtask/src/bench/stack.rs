//! The whole service: what a user waits for at the first command in a new sandbox.

use super::Bench;
use super::quantity::Quantity;
use super::row::{Row, Target};
use super::samples::Samples;
use crate::artifacts::Care;
use crate::dev::client::Client;
use crate::dev::stack::{Engine, Options, Stack};
use crate::setup;
use anyhow::{Context, Result};

const SANDBOXES: usize = 10;

pub(super) fn measure(_: &Bench) -> Result<Vec<Row>> {
    let options = Options { port: None, engine: Engine::Cabana, care: Care::Full, log: false };
    let stack = Stack::launch(&setup::run()?, options)?;
    let rows = sandboxes(&Client::new(stack.url(), stack.api_key())).context("measure the stack");
    stack.stop();
    rows
}

fn sandboxes(client: &Client) -> Result<Vec<Row>> {
    let (mut first, mut second) = (Samples::default(), Samples::default());
    for _ in 0..SANDBOXES {
        let sandbox = first.time(|| {
            let sandbox = client.create()?;
            client.exec(&sandbox, "true")?;
            Ok(sandbox)
        })?;
        second.time(|| client.exec(&sandbox, "true"))?;
        client.destroy(&sandbox)?;
    }
    let row = Row::new("whole stack: create to first result", Quantity::Time(first.p50()))
        .p95(Quantity::Time(first.p95()))
        .against("its second exec", Quantity::Time(second.p50()))
        .target(Target::AtMost(Quantity::milliseconds(500)));
    Ok(vec![row])
}
