//! What a body of unknown length costs the runtime, whose audit counts it piece by piece. Measured of the whole process, so that the case runs alone.

use std::{fs, time::Duration};

use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::json;

use super::{super::lifecycle::Named, assert_alone, runtime};

/// What passes in each direction.
const MEBIBYTES: u64 = 192;

/// What the platform is to allow between two requests.
const GIBIBYTES: u32 = 10;

/// The CPU time that the runtime has used.
fn used() -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", runtime().pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // In hundredths of a second, in user and in system mode.
    Duration::from_millis(10 * fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>())
}

/// What the Worker's configuration lets a request use.
fn allowed() -> Duration {
    let configuration = include_str!("../../../../wrangler.jsonc");
    let value = configuration.split_once(r#""cpu_ms": "#).expect("a limit is set").1;
    Duration::from_millis(value.split_once(' ').unwrap().0.parse().unwrap())
}

#[tokio::test]
async fn ten_gigabytes_in_one_body_cost_less_cpu_than_the_worker_is_allowed() {
    assert_alone();
    let sandbox = Named::new("long-body", json!({})).await;
    sandbox.recover().await;
    let command = json!({ "command": format!("head -c {} /dev/zero", MEBIBYTES << 20) });
    let before = used();
    let call = sandbox.request(Method::POST, "/exec").header("accept", "application/octet-stream").json(&command);
    let mut answer = call.send().await.unwrap();
    let mut length = 0;
    while let Some(piece) = answer.chunk().await.unwrap() {
        length += piece.len() as u64;
    }
    let down = used() - before;
    assert_eq!(length, MEBIBYTES << 20);
    let before = used();
    let pieces = stream::iter((0..MEBIBYTES * 16).map(|_| Ok::<_, std::io::Error>(vec![0; 64 << 10])));
    let upload = sandbox.request(Method::PUT, "/files?path=large").body(Body::wrap_stream(pieces));
    assert!(upload.send().await.unwrap().status().is_success());
    let up = used() - before;
    assert_eq!(sandbox.print("stat -c %s large").await.trim(), (MEBIBYTES << 20).to_string());
    for (way, used) in [("down", down), ("up", up)] {
        let all = used * GIBIBYTES * 1_024 / u32::try_from(MEBIBYTES).unwrap();
        println!("{way}: {used:?} for {MEBIBYTES} MiB, {all:?} for {GIBIBYTES} GiB");
        assert!(all < allowed(), "{way}: {all:?} for {GIBIBYTES} GiB, and {:?} are allowed", allowed());
    }
    sandbox.end().await;
}
