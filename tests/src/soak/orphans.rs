//! Commands that leave children behind, in their group and out of it, which the agent has to wait for.

use cabana_protocol::exec::Exit;
use futures_util::future::join_all;
use serde_json::json;

use super::{
    budget::Budget,
    process::{AS_INIT, Process, mebibytes},
};
use crate::{Sandbox, agent::Agent, until};

/// Clients of each agent at once.
const CLIENTS: u64 = 8;
/// Commands after which the agent is as large as it gets: its threads and buffers are there.
const WARM_UP: u64 = 400;
/// The most that it may grow by from then on.
const GROWTH_KIB: u64 = 4 << 10;
/// One agent that is process 1, and one that is not, have the same to do.
pub(super) async fn run(budget: &Budget) -> String {
    let agents: Vec<_> = [[].as_slice(), AS_INIT].into_iter().map(Observed::start).collect();
    join_all(agents.iter().map(async |agent| {
        let warm_up = Budget::new(WARM_UP, budget.time_left());
        agent.leave_orphans(&warm_up).await;
    }))
    .await;
    let before: Vec<_> = agents.iter().map(|agent| (agent.process.resident_kib(), agent.process.descriptors())).collect();
    join_all(agents.iter().map(|agent| agent.leave_orphans(budget))).await;
    let mut worst = 0;
    for (agent, (resident, descriptors)) in agents.iter().zip(before) {
        let process = agent.process;
        until("no zombie is left", async || process.zombies() == 0).await;
        // A connection that is no longer used is closed after a while.
        until("the descriptors are closed", async || process.descriptors() <= descriptors).await;
        let grown = process.resident_kib().saturating_sub(resident);
        assert!(grown < GROWTH_KIB, "the agent has grown by {grown} KiB");
        worst = worst.max(grown);
    }
    for agent in agents {
        agent.end().await;
    }
    format!("0 zombies, 0 descriptors left; an agent grew by {}", mebibytes(worst))
}

struct Observed {
    sandbox: Sandbox,
    process: Process,
}

impl Observed {
    fn start(starter: &[&str]) -> Self {
        let others = Process::own_agents();
        let sandbox = Sandbox::of_agent(Agent::start(starter, &[]));
        let process = Process::own_agents().into_iter().find(|process| !others.contains(process)).unwrap();
        Self { sandbox, process }
    }

    async fn leave_orphans(&self, budget: &Budget) {
        let clients = (0..CLIENTS).map(async |_| {
            while let Some(round) = budget.begin() {
                let code = i32::try_from(round % 256).unwrap();
                let script = format!("(exit 7) & (setsid sh -c '(exit 9) & exit 8' &); exit {code}");
                let output = self.sandbox.exec(json!({ "command": ["sh", "-c", script] })).await;
                assert_eq!(output.result.exit, Some(Exit::Exited { code }), "round {round}");
                budget.finish();
            }
        });
        join_all(clients).await;
    }

    /// Ends it while something runs that does not care for SIGTERM.
    async fn end(self) {
        let stubborn = json!({ "command": "trap '' TERM; echo up; while :; do sleep 1; done", "detach": true });
        self.sandbox.exec(stubborn).await;
        self.process.signal("TERM");
        until("the agent has ended", async || !self.process.lives()).await;
    }
}
