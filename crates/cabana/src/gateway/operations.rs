//! What clients start, and what they say to it.

use std::rc::Rc;

use cabana_protocol::{
    audit::Outcome,
    frame::{PONG, Reply, binary::Raw},
    table::Descriptor,
};
use worker::Date;

use super::{
    Gateway,
    admission::{Refusal, Verdict, judge},
    client::{Client, Guard},
};
use crate::sandbox::audit::Entry;

impl Gateway {
    pub(super) fn receive(self: &Rc<Self>, client: &Rc<Client>, frame: Raw<'_>) {
        // The alarm closes it as well, a little later.
        self.expire(Date::now().as_millis());
        if !self.clients.borrow().contains_key(&client.number) {
            return;
        }
        self.confirm(client);
        let judged = match self.backend.sandbox(&client.principal) {
            Ok(sandbox) => judge(frame, &client.principal, &sandbox, &client.running.borrow()),
            Err(error) => Err(Refusal { id: None, operation: None, error }),
        };
        match judged {
            Ok(Verdict::Pong) => client.send_text(PONG),
            Ok(Verdict::Pass { id }) => {
                client.count(&id, frame.length(), 0);
                self.pass(client, frame);
            }
            Ok(Verdict::Start { id, operation }) => self.start(client, id, operation, frame),
            Err(Refusal { id, operation, error }) => {
                client.refuse(id.as_deref(), &error);
                let entry = operation.zip(id).and_then(|(operation, id)| self.enter(client, &operation, &id, frame.length()));
                entry.inspect(|entry| entry.end_afterwards(Outcome::Failed(error.code)));
            }
        }
    }

    fn start(self: &Rc<Self>, client: &Rc<Client>, id: String, operation: &'static Descriptor, frame: Raw<'_>) {
        let entry = self.enter(client, operation.name, &id, frame.length());
        if let Some(answer) = self.backend.asleep(operation) {
            if let Some(entry) = entry {
                entry.count(None, Some(answer.len() as u64));
                entry.end_afterwards(Outcome::OK);
            }
            return client.send(Reply::Result, Some(&id), &serde_json::value::RawValue::from_string(answer.to_owned()).ok());
        }
        let busy = Rc::clone(&self.backend).busy(operation);
        client.running.borrow_mut().insert(id, operation, Guard { _busy: busy, entry });
        client.save();
        self.started.set(self.started.get() + 1);
        self.pass(client, frame);
    }

    fn enter(&self, client: &Client, operation: &str, id: &str, bytes: usize) -> Option<Entry> {
        let entry = Rc::clone(&self.backend).enter(&client.principal, operation, id)?;
        entry.count(Some(bytes as u64), None);
        Some(entry)
    }
}
