//! Where an issuer publishes its keys: a web server on this machine, as long as the cases run.

use std::{
    io::{BufRead, BufReader, Result, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Mutex, OnceLock},
    thread,
};

use serde_json::{Value, json};

/// What is published.
#[derive(Debug)]
pub struct Publication(Mutex<Published>);

#[derive(Debug)]
struct Published {
    keys: Vec<Value>,
    fetches: usize,
}

static PUBLICATION: OnceLock<Publication> = OnceLock::new();

impl Publication {
    /// The one of all cases, which is there from the first call on, with these keys.
    pub(super) fn on(port: u16, keys: impl Iterator<Item = Value>) -> &'static Self {
        PUBLICATION.get_or_init(|| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            thread::spawn(move || {
                for caller in listener.incoming().flatten() {
                    // A caller that goes away has no answer.
                    let _ = PUBLICATION.wait().answer(&caller);
                }
            });
            Self(Mutex::new(Published { keys: keys.collect(), fetches: 0 }))
        })
    }

    /// Publishes one more key.
    pub fn add(&self, key: Value) {
        self.0.lock().unwrap().keys.push(key);
    }

    /// How often the keys were fetched.
    pub fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches
    }

    fn answer(&self, mut caller: &TcpStream) -> Result<()> {
        let mut lines = BufReader::new(caller).lines();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let body = {
            let mut published = self.0.lock().unwrap();
            published.fetches += 1;
            json!({ "keys": published.keys }).to_string()
        };
        let length = body.len();
        write!(
            caller,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }
}
