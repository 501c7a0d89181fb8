//! A server by itself: on the machine's time, with nobody playing controllers but its caller.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::message::{Key, Request, Response};
use crate::serve::Backend;
use crate::server::ApiServer;
use crate::watch::Watch;

/// A backend that is one server and nothing else.
pub struct Alone {
    server: Mutex<ApiServer>,
    users: HashMap<String, String>,
    forwards: Mutex<HashMap<(Key, u16), SocketAddr>>,
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Alone {
    /// A server on the machine's time, for bearers of this token, who may do everything.
    pub fn new(server: ApiServer, token: &str) -> Alone {
        Alone::at(server, token, Timestamp::now)
    }

    /// The same on another clock.
    pub fn at(
        mut server: ApiServer,
        token: &str,
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Alone {
        server.set_groups("admin", &["system:masters"]);
        Alone {
            server: Mutex::new(server),
            users: HashMap::from([(token.to_owned(), "admin".to_owned())]),
            forwards: Mutex::default(),
            now: Box::new(now),
        }
    }

    /// Lets the bearers of another token in, as this user.
    pub fn with_user(mut self, token: &str, user: &str) -> Alone {
        self.users.insert(token.to_owned(), user.to_owned());
        self
    }

    /// Acts on the server, as a controller does, and lets it settle.
    pub fn act<T>(&self, act: impl FnOnce(&mut ApiServer, Timestamp) -> T) -> T {
        let now = (self.now)();
        let mut server = self.server();
        let done = act(&mut server, now);
        server.settle(now);
        done
    }

    /// Says where a port of a pod is reached.
    pub fn listen(&self, pod: &Key, port: u16, address: SocketAddr) {
        let mut forwards = self.forwards.lock().unwrap_or_else(PoisonError::into_inner);
        forwards.insert((pod.clone(), port), address);
    }

    /// Shared, as [`crate::serve::serve`] takes it.
    pub fn shared(self) -> Arc<Alone> {
        Arc::new(self)
    }

    fn server(&self) -> MutexGuard<'_, ApiServer> {
        // A panic in one request must not end all others.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Alone {
    fn user(&self, token: Option<&str>) -> Option<String> {
        self.users.get(token?).cloned()
    }

    fn handle(&self, request: &Request) -> Response {
        self.act(|server, now| server.handle(request, now))
    }

    fn events(&self, watch: &mut Watch) -> Vec<u8> {
        let now = (self.now)();
        let mut server = self.server();
        server.settle(now);
        server.events(watch, now)
    }

    fn forward(&self, pod: &Key, port: u16) -> Option<SocketAddr> {
        let forwards = self.forwards.lock().unwrap_or_else(PoisonError::into_inner);
        forwards.get(&(pod.clone(), port)).copied()
    }
}
