//! Watches: what happens to a selection of objects, told in order.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::listing::{Form, Listed};
use crate::selector::Selection;
use crate::served::Served;
use crate::server::ApiServer;
use crate::status::Status;
use crate::store::Event;

/// How often a watch that asked for bookmarks is told how far it is.
const BOOKMARKS_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A stream of events that a client follows. Ask [`ApiServer::events`] for what is new.
pub struct Watch {
    served: Arc<Served>,
    namespace: String,
    selection: Selection,
    form: Form,
    /// Objects that stand when the watch begins, still to be told.
    first: VecDeque<Arc<Value>>,
    /// Whether the end of those is to be marked.
    mark_end: bool,
    revision: u64,
    bookmarks: bool,
    next_bookmark: Timestamp,
    until: Option<Timestamp>,
    heads_sent: bool,
    over: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "watch on {} in {:?} from {}",
            self.served.said(),
            self.namespace,
            self.revision
        )
    }
}

impl Watch {
    /// Begins a watch as a request asks for it.
    pub(crate) fn begin(server: &ApiServer, listed: Listed, now: Timestamp) -> Watch {
        let from_now = matches!(listed.revision.as_str(), "" | "0");
        let tells_first = from_now || listed.send_initial;
        let first = if tells_first && listed.send_initial_or_default {
            server
                .selected(&listed.served, &listed.namespace, &listed.selection)
                .map(|(_, object)| object.clone())
                .collect()
        } else {
            VecDeque::new()
        };
        let revision = if tells_first {
            server.revision()
        } else {
            listed.revision.parse().unwrap_or_default()
        };
        Watch {
            served: listed.served,
            namespace: listed.namespace,
            selection: listed.selection,
            form: listed.form,
            first,
            mark_end: listed.send_initial,
            revision,
            bookmarks: listed.bookmarks,
            next_bookmark: now + BOOKMARKS_EVERY,
            until: listed.timeout.map(|timeout| now + timeout),
            heads_sent: false,
            over: false,
        }
    }

    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn news(&mut self, server: &ApiServer, now: Timestamp) -> Vec<u8> {
        let mut lines = Vec::new();
        if self.over {
            return lines;
        }
        while let Some(object) = self.first.pop_front() {
            self.tell("ADDED", &object, now, &mut lines);
        }
        if self.mark_end {
            self.mark_end = false;
            self.tell_revision(true, &mut lines);
        }
        self.tell_since(server, now, &mut lines);
        if self.bookmarks && now >= self.next_bookmark && !self.over {
            self.next_bookmark = now + BOOKMARKS_EVERY;
            self.tell_revision(false, &mut lines);
        }
        self.over |= self.until.is_some_and(|until| now >= until);
        lines
    }

    fn tell_since(&mut self, server: &ApiServer, now: Timestamp, lines: &mut Vec<u8>) {
        if server.revision() == self.revision {
            return;
        }
        let Some(events) = server.store.since(self.revision) else {
            let gone = Status::gone(format!("too old resource version: {}", self.revision));
            line("ERROR", &gone.to_value(), lines);
            self.over = true;
            return;
        };
        let mine: Vec<Event> = events
            .filter(|event| {
                self.served.is(&event.key.group, &event.key.kind)
                    && (self.namespace.is_empty() || self.namespace == event.key.namespace)
            })
            .cloned()
            .collect();
        for event in mine {
            let was = event
                .before
                .as_ref()
                .is_some_and(|before| self.selection.takes(before));
            let is = !event.gone && self.selection.takes(&event.object);
            match (was, is) {
                (false, true) => self.tell("ADDED", &event.object, now, lines),
                (true, true) => self.tell("MODIFIED", &event.object, now, lines),
                (true, false) => self.tell("DELETED", &event.object, now, lines),
                (false, false) => {}
            }
        }
        self.revision = server.revision();
    }

    fn tell(&mut self, what: &str, object: &Arc<Value>, now: Timestamp, lines: &mut Vec<u8>) {
        let with_heads = !self.heads_sent;
        self.heads_sent = true;
        let shown = self.form.one(&self.served, object, with_heads, now);
        line(what, &shown, lines);
    }

    fn tell_revision(&self, end_of_first: bool, lines: &mut Vec<u8>) {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if end_of_first {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.form {
            Form::Table(_) => json!({
                "kind": "Table",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "columnDefinitions": [],
                "rows": [],
            }),
            _ => json!({
                "kind": self.served.kind,
                "apiVersion": self.served.api_version(),
                "metadata": metadata,
            }),
        };
        line("BOOKMARK", &object, lines);
    }
}

fn line(what: &str, object: &Value, lines: &mut Vec<u8>) {
    lines.extend_from_slice(format!("{{\"type\":\"{what}\",\"object\":").as_bytes());
    // Writing into memory does not fail, and a `Value` has text keys only.
    lines.extend(serde_json::to_vec(object).unwrap_or_default());
    lines.extend_from_slice(b"}\n");
}
