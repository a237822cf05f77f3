//! Finding keys: what the isolate remembers first, then the database.

use std::{cell::RefCell, rc::Rc};

use cabana::{Code, Database, KeyId, Principal, log};
use cabana_protocol::Error;
use serde_json::json;
use worker::{Context, Env};

use super::{
    Presented, Record,
    cache::{KeyCache, Look},
    store,
    tag::Budget,
};
use crate::{auth::authority::Authority, time};

/// How coarsely the last use is noted, in milliseconds: 15 min.
const USE_MS: u64 = 900_000;

thread_local! {
    /// Shared by all requests of the isolate.
    static KEYS: RefCell<KeyCache> = const { RefCell::new(KeyCache::new()) };
    static UNTAGGED: RefCell<Budget> = RefCell::default();
}

/// What finding a key takes.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// Where keys are, as far as the request waits for it; `None`: the deployment has no keys.
    pub database: Option<&'a Database>,
    /// For what the request does not wait for.
    pub env: &'a Env,
    /// Takes that over.
    pub context: &'a Context,
}

impl Lookup<'_> {
    /// Whose key it is.
    ///
    /// Fails with `unauthorized`, with `too_many_requests` where too many ids were made up lately, and with `unavailable` where the database
    /// is needed and does not answer.
    pub async fn admit(self, presented: &Presented) -> Result<Principal, Error> {
        let invalid = || Error::new(Code::Unauthorized, "the API key is not valid");
        let record = self.find(&presented.id, |record| presented.is(record)).await?.ok_or_else(invalid)?;
        record.admit(time::now())
    }

    /// Lets in what was made with a key, as long as that is good.
    pub async fn check(self, id: &KeyId) -> Result<(), Error> {
        let ended = || Error::new(Code::Unauthorized, "the API key that made this token is no more");
        let record = self.find(id, |_| true).await?.ok_or_else(ended)?;
        record.admit(time::now()).map(drop).map_err(|_| ended())
    }

    /// The key of this id, where it is the right one. Only then is there any work after the answer.
    async fn find(self, id: &KeyId, is_right: impl Fn(&Record) -> bool) -> Result<Option<Rc<Record>>, Error> {
        let now = time::now();
        let look = KEYS.with_borrow(|keys| keys.look(id, now));
        let (record, stale) = match look {
            Look::Absent => return Ok(None),
            Look::Fresh(record) => (Some(record), false),
            Look::Stale(record) => (Some(record), true),
            Look::Unknown => match self.database {
                Some(database) => {
                    self.afford(id, now)?;
                    (ask(database, id).await?, false)
                }
                None => return Ok(None),
            },
        };
        let Some(record) = record.filter(|record| is_right(record)) else { return Ok(None) };
        let used = record.last_used_at_ms.get().is_none_or(|last| last + USE_MS <= now);
        if let Some(database) = Database::of(self.env).filter(|_| stale || used) {
            record.last_used_at_ms.set(Some(now));
            self.context.wait_until(follow_up(database, Rc::clone(&record), used));
        }
        Ok(Some(record))
    }
}

impl Lookup<'_> {
    /// Whether the database may be asked for an id: for one that this gateway has made, always.
    fn afford(&self, id: &KeyId, now: u64) -> Result<(), Error> {
        let authority = Authority::of(self.env)?;
        let is_tagged = authority.tagger().is_none_or(|tagger| tagger.vouches_for(id));
        if is_tagged || UNTAGGED.with_borrow_mut(|budget| budget.take(now)) {
            return Ok(());
        }
        let message = "too many unknown API keys were presented: repeat the request in a second";
        Err(Error::new(Code::TooManyRequests, message).with_details(json!({ "retry_after_ms": 1_000 })))
    }
}

/// Forgets what the isolate knows of a key, in favour of this.
pub fn learn(record: Record) {
    let id = record.shown.id.clone();
    KEYS.with_borrow_mut(|keys| keys.learn(&id, Some(Rc::new(record)), time::now()));
}

async fn ask(database: &Database, id: &KeyId) -> Result<Option<Rc<Record>>, Error> {
    // What the answer says was true when it was asked for, at the least.
    let since = time::now();
    let record = store::find(database, id).await?.map(Rc::new);
    KEYS.with_borrow_mut(|keys| keys.learn(id, record.clone(), since));
    Ok(record)
}

/// Notes that the key is used, and looks again what has become of it.
async fn follow_up(database: Database, record: Rc<Record>, used: bool) {
    let id = &record.shown.id;
    let noted = if used { store::touch(&database, id, time::now()).await } else { Ok(()) };
    if let Err(error) = noted.and(ask(&database, id).await) {
        log::warn(None, &format!("a key could not be looked up again: {}", error.message));
    }
}
