//! What clients start, and what they say to it.

use std::rc::Rc;

use cabana_protocol::{
    Error,
    audit::Outcome,
    frame::{PONG, Reply, binary::Raw},
    table::Descriptor,
};

use super::{
    Gateway,
    admission::{Refusal, Verdict, judge},
    client::{Client, Guard},
};
use crate::{
    audit::{Asked, Entry},
    clock::now,
};

impl Gateway {
    pub(super) fn receive(self: &Rc<Self>, client: &Rc<Client>, frame: Raw<'_>) {
        // The alarm closes it as well, a little later.
        self.expire(now().0);
        if !self.clients.borrow().contains_key(&client.number) {
            return;
        }
        self.confirm(client);
        let judged = match self.sandbox(&client.principal) {
            Ok(sandbox) => judge(frame, &client.principal, &sandbox, &client.running.borrow()),
            Err(error) => Err(Refusal { id: None, operation: None, error }),
        };
        let room = self.link.borrow().admit(frame.length());
        let judged = match room {
            Ok(()) => judged,
            Err(error) => judged.and_then(|verdict| self.refuse_for_room(client, verdict, error)),
        };
        match judged {
            Ok(Verdict::Pong) => client.send_text(PONG),
            Ok(Verdict::Ignore) => {}
            // It has had its last word, and ends.
            Ok(Verdict::Pass { id, .. }) if client.is_refused(&id) => {}
            Ok(Verdict::Pass { id, .. }) => {
                client.count(&id, frame.length(), 0);
                self.pass(client, &id, frame);
            }
            Ok(Verdict::Start { id, operation }) => self.start(client, id, operation, frame),
            Err(Refusal { id, operation, error }) => {
                client.refuse(id.as_deref(), &error);
                let entry = operation.zip(id).and_then(|(operation, id)| self.enter(client, &operation, &id, frame.length()));
                entry.inspect(|entry| entry.end_deferred(Outcome::Failed(error.code)));
            }
        }
    }

    /// Refuses what there is no room for. An operation that has missed an input must not end as though it had not: it comes to nothing.
    fn refuse_for_room(self: &Rc<Self>, client: &Rc<Client>, verdict: Verdict, error: Error) -> Result<Verdict, Refusal> {
        match verdict {
            Verdict::Start { id, operation } => Err(Refusal { id: Some(id), operation: Some(operation.name.to_owned()), error }),
            Verdict::Pong | Verdict::Ignore | Verdict::Pass { cancels: true, .. } => Ok(verdict),
            Verdict::Pass { id, cancels: false } => {
                client.refuse_running(&id, &error);
                let heard = self.link.borrow_mut().cancel(client.number, &id);
                if !heard {
                    self.end(client, &id, Outcome::Failed(error.code));
                }
                Ok(Verdict::Ignore)
            }
        }
    }

    fn start(self: &Rc<Self>, client: &Rc<Client>, id: String, operation: &'static Descriptor, frame: Raw<'_>) {
        let entry = self.enter(client, operation.name, &id, frame.length());
        if let Some(answer) = operation.asleep.filter(|_| !self.supervisor.is_up()) {
            if let Some(entry) = entry {
                entry.count(None, Some(answer.len() as u64));
                entry.end_deferred(Outcome::OK);
            }
            return client.send(Reply::Result, Some(&id), &serde_json::value::RawValue::from_string(answer.to_owned()).ok());
        }
        let activity = operation.asleep.is_none().then(|| self.supervisor.begin());
        client.running.borrow_mut().insert(id.clone(), operation, Guard { _activity: activity, entry });
        client.save();
        self.started.set(self.started.get() + 1);
        self.pass(client, &id, frame);
    }

    fn enter(&self, client: &Client, operation: &str, id: &str, bytes: usize) -> Option<Entry> {
        let owner = self.supervisor.store().owner();
        let asked = Asked { principal: &client.principal, operation, request_id: id, at: now() };
        let entry = self.audit.enter(owner.as_ref(), &asked)?;
        entry.count(Some(bytes as u64), None);
        Some(entry)
    }
}
