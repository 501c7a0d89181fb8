//! As much of Keycloak's admin REST API as realms take that are kept by `request` steps: realms, roles, users, clients,
//! mappers, client scopes, role mappings and authorization settings, in memory (source: Keycloak 26, "Admin REST API").
//!
//! It signs nobody in but administrators, and judges no policy. It answers as Keycloak does where that decides what a
//! caller does next: which status, what is merged and what is replaced, what is left out of an answer.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// How long a token lasts.
const TOKEN_MS: u64 = 60_000;
/// Roles and clients that every realm has from the beginning.
const ROLES: [&str; 2] = ["offline_access", "uma_authorization"];
const CLIENTS: [&str; 6] = [
    "account",
    "account-console",
    "admin-cli",
    "broker",
    "realm-management",
    "security-admin-console",
];
/// Client scopes that every realm has from the beginning.
const SCOPES: [&str; 5] = ["profile", "email", "roles", "web-origins", "basic"];

/// A Keycloak with its realms.
#[derive(Debug, Default)]
pub struct Keycloak {
    /// Who administers it; anybody when nobody is named.
    administrator: Option<(String, String)>,
    realms: BTreeMap<String, Realm>,
    tokens: BTreeMap<String, u64>,
    made: u64,
}

#[derive(Debug, Default)]
struct Realm {
    fields: Map<String, Value>,
    roles: Vec<Value>,
    users: Vec<Value>,
    clients: Vec<Value>,
    scopes: Vec<Value>,
    /// Roles of users, by the user's id.
    mappings: BTreeMap<String, Vec<String>>,
    /// Default client scopes of clients, by the client's id.
    assigned: BTreeMap<String, Vec<String>>,
    /// Authorization settings of clients, by the client's id.
    authorization: BTreeMap<String, Value>,
}

/// What is asked of it.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The body; nothing when it is empty.
    pub body: Value,
    /// Where what was made is, as a path.
    pub location: Option<String>,
}

impl Answered {
    fn of(status: u16, body: Value) -> Answered {
        Answered {
            status,
            body,
            location: None,
        }
    }

    fn done() -> Answered {
        Answered::of(204, Value::Null)
    }

    fn made(at: &str, id: &str) -> Answered {
        Answered {
            location: Some(format!("{}/{id}", at.trim_end_matches('/'))),
            ..Answered::of(201, Value::Null)
        }
    }

    fn missing(what: &str) -> Answered {
        Answered::of(404, json!({ "error": what }))
    }

    fn conflict(why: String) -> Answered {
        Answered::of(409, json!({ "errorMessage": why }))
    }

    fn not_allowed() -> Answered {
        Answered::of(405, json!({ "error": "HTTP 405 Method Not Allowed" }))
    }
}

impl Keycloak {
    /// A Keycloak with the realm `master` and this administrator.
    pub fn with_administrator(username: &str, password: &str) -> Keycloak {
        Keycloak {
            administrator: Some((username.to_owned(), password.to_owned())),
            ..Keycloak::default()
        }
    }

    /// The names of its realms, `master` left out.
    pub fn realms(&self) -> Vec<&str> {
        self.realms.keys().map(String::as_str).collect()
    }

    /// Answers a request at `now`, in milliseconds.
    pub fn answer(&mut self, asked: &Asked<'_>, now: u64) -> Answered {
        let parts: Vec<String> = asked
            .path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(decoded)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if let ["realms", "master", "protocol", "openid-connect", "token"] = parts[..] {
            return self.token(asked, now);
        }
        let ["admin", "realms", ref rest @ ..] = parts[..] else {
            return Answered::missing("Unable to find matching target resource method");
        };
        let bearer = asked
            .authorization
            .and_then(|header| header.strip_prefix("Bearer "));
        if bearer
            .and_then(|token| self.tokens.get(token))
            .is_none_or(|until| *until <= now)
        {
            return Answered::of(401, json!({ "error": "HTTP 401 Unauthorized" }));
        }
        let body = match (asked.method, asked.body) {
            (_, []) => Value::Null,
            (_, bytes) => match serde_json::from_slice(bytes) {
                Ok(body) => body,
                Err(_) => {
                    return Answered::of(
                        400,
                        json!({ "error": "unknown_error", "error_description": "For more on this error consult the server log." }),
                    );
                }
            },
        };
        self.admin(asked, rest, body)
    }

    fn token(&mut self, asked: &Asked<'_>, now: u64) -> Answered {
        let form = pairs(&String::from_utf8_lossy(asked.body));
        let get = |key: &str| {
            let found = form.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let refused = |status, error: &str, why: &str| {
            Answered::of(status, json!({ "error": error, "error_description": why }))
        };
        if get("client_id").is_empty() {
            return refused(
                401,
                "invalid_client",
                "Invalid client or Invalid client credentials",
            );
        }
        if !matches!(
            get("grant_type"),
            "password" | "refresh_token" | "client_credentials"
        ) {
            return refused(400, "unsupported_grant_type", "Unsupported grant_type");
        }
        if let ("password", Some((username, password))) = (get("grant_type"), &self.administrator)
            && (get("username"), get("password")) != (username.as_str(), password.as_str())
        {
            return refused(401, "invalid_grant", "Invalid user credentials");
        }
        let token = format!("token-{}", self.id());
        self.tokens.retain(|_, until| *until > now);
        self.tokens.insert(token.clone(), now + TOKEN_MS);
        Answered::of(
            200,
            json!({ "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_MS / 1000, "scope": "profile email" }),
        )
    }

    /// Ids look like UUIDs and never come twice.
    fn id(&mut self) -> String {
        self.made += 1;
        let mixed = self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            mixed >> 32,
            (mixed >> 16) & 0xffff,
            mixed & 0xfff,
            (mixed >> 8) & 0xfff,
            self.made
        )
    }

    fn admin(&mut self, asked: &Asked<'_>, path: &[&str], body: Value) -> Answered {
        match (asked.method, path) {
            ("GET", []) => Answered::of(
                200,
                self.realms
                    .values()
                    .map(|realm| Value::Object(realm.fields.clone()))
                    .collect(),
            ),
            ("POST", []) => self.make_realm(asked, body),
            (_, []) => Answered::not_allowed(),
            (method, [name, rest @ ..]) => {
                let Some(mut realm) = self.realms.remove(*name) else {
                    return Answered::missing("Realm not found.");
                };
                let answered = match (method, rest) {
                    ("DELETE", []) => return Answered::done(),
                    ("GET", []) => Answered::of(200, Value::Object(realm.fields.clone())),
                    ("PUT", []) => {
                        // Fields that are not sent stay; the mapping of attributes is replaced as a whole.
                        lay(&mut realm.fields, body);
                        Answered::done()
                    }
                    (_, []) => Answered::not_allowed(),
                    (_, rest) => self.in_realm(&mut realm, asked, rest, body),
                };
                let name = match realm.fields.get("realm").and_then(Value::as_str) {
                    Some(renamed) => renamed.to_owned(),
                    None => (*name).to_owned(),
                };
                self.realms.insert(name, realm);
                answered
            }
        }
    }

    fn make_realm(&mut self, asked: &Asked<'_>, body: Value) -> Answered {
        let Some(name) = body["realm"].as_str().map(str::to_owned) else {
            return Answered::of(400, json!({ "errorMessage": "Realm name cannot be empty" }));
        };
        if self.realms.contains_key(&name) || name == "master" {
            return Answered::conflict("Conflict detected. See logs for details".to_owned());
        }
        let mut realm = Realm::default();
        for (key, value) in [
            ("enabled", json!(false)),
            ("sslRequired", json!("external")),
            ("registrationAllowed", json!(false)),
            ("loginWithEmailAllowed", json!(true)),
            ("duplicateEmailsAllowed", json!(false)),
            ("bruteForceProtected", json!(false)),
            ("accessTokenLifespan", json!(300)),
            ("ssoSessionIdleTimeout", json!(1800)),
            ("attributes", json!({})),
        ] {
            realm.fields.insert(key.to_owned(), value);
        }
        let (parts, rest) = split(body);
        lay(&mut realm.fields, rest);
        let id = self.id();
        realm.fields.entry("id").or_insert_with(|| id.into());
        let default = format!("default-roles-{name}");
        for role in ROLES.iter().copied().chain([default.as_str()]) {
            let role = json!({ "id": self.id(), "name": role, "composite": role == default, "clientRole": false, "attributes": {} });
            realm.roles.push(role);
        }
        for client in CLIENTS {
            let made = self.client(json!({ "clientId": client }));
            realm.clients.push(made);
        }
        for scope in SCOPES {
            let made = json!({ "id": self.id(), "name": scope, "protocol": "openid-connect", "protocolMappers": [] });
            realm.scopes.push(made);
        }
        // A whole realm may come at once, as an import has it.
        for (kind, items) in parts {
            for item in items {
                match kind {
                    "roles" => drop(self.make_role(&mut realm, "", item)),
                    "clients" => drop(self.make_client(&mut realm, "", item)),
                    _ => drop(self.make_user(&mut realm, "", item)),
                }
            }
        }
        self.realms.insert(name.clone(), realm);
        Answered::made(asked.path, &name)
    }

    fn in_realm(&mut self, realm: &mut Realm, asked: &Asked<'_>, path: &[&str], body: Value) -> Answered {
        let at = asked.path;
        let query = |key: &str| {
            let found = asked.query.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str())
        };
        match (asked.method, path) {
            ("GET", ["roles"]) => Answered::of(200, realm.roles.iter().map(briefly).collect()),
            ("POST", ["roles"]) => self.make_role(realm, at, body),
            (method, ["roles", name]) => one(
                method,
                &mut realm.roles,
                "name",
                name,
                body,
                "Could not find role",
            ),

            ("GET", ["users"]) => {
                let exact = query("exact") == Some("true");
                let fits = |user: &&Value| match query("username") {
                    None => true,
                    Some(name) if exact => user["username"] == name.to_lowercase(),
                    Some(name) => user["username"]
                        .as_str()
                        .unwrap_or_default()
                        .contains(&name.to_lowercase()),
                };
                Answered::of(200, realm.users.iter().filter(fits).cloned().collect())
            }
            ("POST", ["users"]) => self.make_user(realm, at, body),
            (method, ["users", id]) => {
                let body = without(body, "credentials");
                let answered = one(method, &mut realm.users, "id", id, body, "User not found");
                if method == "DELETE" {
                    realm.mappings.remove(*id);
                }
                answered
            }
            ("PUT", ["users", id, "reset-password"]) => match position(&realm.users, "id", id) {
                Some(_) => Answered::done(),
                None => Answered::missing("User not found"),
            },
            (method, ["users", id, "role-mappings", "realm"]) => realm.role_mappings(method, id, &body),

            ("GET", ["clients"]) => {
                let fits = |client: &&Value| query("clientId").is_none_or(|id| client["clientId"] == id);
                Answered::of(200, realm.clients.iter().filter(fits).cloned().collect())
            }
            ("POST", ["clients"]) => self.make_client(realm, at, body),
            (method, ["clients", id]) => {
                let answered = one(
                    method,
                    &mut realm.clients,
                    "id",
                    id,
                    body,
                    "Could not find client",
                );
                realm.settle_authorization();
                answered
            }
            ("GET", ["clients", id, "client-secret"]) => match position(&realm.clients, "id", id) {
                Some(index) => Answered::of(
                    200,
                    json!({ "type": "secret", "value": realm.clients[index]["secret"] }),
                ),
                None => Answered::missing("Could not find client"),
            },
            (method, ["clients", id, "protocol-mappers", "models", rest @ ..]) => {
                self.mappers(&mut realm.clients, method, id, rest, at, body)
            }
            (method, ["clients", id, "default-client-scopes", rest @ ..]) => {
                realm.assignments(method, id, rest)
            }
            (method, ["clients", id, "authz", "resource-server", rest @ ..]) => {
                realm.authorization(method, id, rest, body)
            }

            ("GET", ["client-scopes"]) => Answered::of(200, realm.scopes.iter().cloned().collect()),
            ("POST", ["client-scopes"]) => {
                if position(&realm.scopes, "name", text(&body, "name")).is_some() {
                    return Answered::conflict(format!(
                        "Client Scope {} already exists",
                        text(&body, "name")
                    ));
                }
                let id = self.add(&mut realm.scopes, json!({ "protocolMappers": [] }), body);
                Answered::made(at, &id)
            }
            (method, ["client-scopes", id]) => one(
                method,
                &mut realm.scopes,
                "id",
                id,
                body,
                "Could not find client scope",
            ),
            (method, ["client-scopes", id, "protocol-mappers", "models", rest @ ..]) => {
                self.mappers(&mut realm.scopes, method, id, rest, at, body)
            }
            _ => Answered::missing("Unable to find matching target resource method"),
        }
    }

    fn add(&mut self, to: &mut Vec<Value>, usual: Value, body: Value) -> String {
        let id = self.id();
        let mut made = match usual {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        lay(&mut made, body);
        let id = made
            .entry("id")
            .or_insert_with(|| id.into())
            .as_str()
            .unwrap_or_default()
            .to_owned();
        to.push(Value::Object(made));
        id
    }

    fn make_role(&mut self, realm: &mut Realm, at: &str, body: Value) -> Answered {
        let name = text(&body, "name").to_owned();
        if position(&realm.roles, "name", &name).is_some() {
            return Answered::conflict(format!("Role with name {name} already exists"));
        }
        let usual = json!({ "composite": false, "clientRole": false, "attributes": {} });
        self.add(&mut realm.roles, usual, body);
        Answered::made(at, &name)
    }

    fn make_user(&mut self, realm: &mut Realm, at: &str, body: Value) -> Answered {
        let name = text(&body, "username").to_lowercase();
        if name.is_empty() {
            return Answered::of(400, json!({ "errorMessage": "User name is missing" }));
        }
        if position(&realm.users, "username", &name).is_some() {
            return Answered::conflict("User exists with same username".to_owned());
        }
        // Passwords are never told again.
        let mut body = without(body, "credentials");
        body["username"] = name.into();
        let usual = json!({ "enabled": false, "emailVerified": false, "totp": false, "requiredActions": [] });
        let id = self.add(&mut realm.users, usual, body);
        let default = format!("default-roles-{}", text_of(&realm.fields, "realm"));
        realm.mappings.insert(id.clone(), vec![default]);
        Answered::made(at, &id)
    }

    fn client(&mut self, body: Value) -> Value {
        let public = body["publicClient"].as_bool().unwrap_or(false);
        let id = self.id();
        let mut client = json!({
            "id": id, "enabled": true, "protocol": "openid-connect", "publicClient": public, "bearerOnly": false,
            "standardFlowEnabled": true, "implicitFlowEnabled": false, "directAccessGrantsEnabled": false,
            "serviceAccountsEnabled": false, "redirectUris": [], "webOrigins": [], "attributes": {},
            "protocolMappers": [], "fullScopeAllowed": true,
        });
        if !public {
            client["secret"] = format!("secret-{}", self.id()).into();
        }
        if let (Value::Object(client), mappers) = (&mut client, body["protocolMappers"].clone()) {
            lay(client, body);
            let mappers: Vec<Value> = mappers
                .as_array()
                .into_iter()
                .flatten()
                .map(|mapper| {
                    let mut mapper = mapper.clone();
                    mapper["id"] = self.id().into();
                    mapper
                })
                .collect();
            client.insert("protocolMappers".to_owned(), mappers.into());
        }
        client
    }

    fn make_client(&mut self, realm: &mut Realm, at: &str, body: Value) -> Answered {
        let name = text(&body, "clientId").to_owned();
        if position(&realm.clients, "clientId", &name).is_some() {
            return Answered::conflict(format!("Client {name} already exists"));
        }
        let client = self.client(without(body, "authorizationSettings"));
        let id = text(&client, "id").to_owned();
        let scopes = ["profile", "email", "roles", "web-origins", "basic"].map(str::to_owned);
        realm.assigned.insert(id.clone(), scopes.to_vec());
        realm.clients.push(client);
        realm.settle_authorization();
        Answered::made(at, &id)
    }

    fn mappers(
        &mut self,
        owners: &mut [Value],
        method: &str,
        owner: &str,
        rest: &[&str],
        at: &str,
        body: Value,
    ) -> Answered {
        let Some(index) = position(owners, "id", owner) else {
            return Answered::missing("Could not find client");
        };
        let Some(mappers) = owners[index]["protocolMappers"].as_array_mut() else {
            return Answered::missing("Model not found");
        };
        match (method, rest) {
            ("GET", []) => Answered::of(200, mappers.iter().cloned().collect()),
            ("POST", []) => {
                if position(mappers, "name", text(&body, "name")).is_some() {
                    return Answered::conflict("Protocol mapper exists with same name".to_owned());
                }
                let id = self.add(mappers, json!({ "consentRequired": false, "config": {} }), body);
                Answered::made(at, &id)
            }
            (method, [id]) => one(method, mappers, "id", id, body, "Model not found"),
            _ => Answered::not_allowed(),
        }
    }
}

impl Realm {
    fn role_mappings(&mut self, method: &str, user: &str, body: &Value) -> Answered {
        let Some(mapped) = self.mappings.get_mut(user) else {
            return Answered::missing("User not found");
        };
        let names: Vec<String> = body
            .as_array()
            .into_iter()
            .flatten()
            .map(|role| text(role, "name").to_owned())
            .collect();
        // Roles are found by their ids; the name alone does not do.
        let known = |role: &Value| {
            self.roles
                .iter()
                .any(|one| one["id"] == role["id"] && one["name"] == role["name"])
        };
        match method {
            "GET" => {
                let roles = self
                    .roles
                    .iter()
                    .filter(|role| mapped.iter().any(|name| role["name"] == *name));
                Answered::of(200, roles.map(briefly).collect())
            }
            "POST" | "DELETE" if !body.as_array().into_iter().flatten().all(known) => {
                Answered::missing("Role not found")
            }
            "POST" => {
                for name in names {
                    if !mapped.contains(&name) {
                        mapped.push(name);
                    }
                }
                Answered::done()
            }
            "DELETE" => {
                mapped.retain(|name| !names.contains(name));
                Answered::done()
            }
            _ => Answered::not_allowed(),
        }
    }

    fn assignments(&mut self, method: &str, client: &str, rest: &[&str]) -> Answered {
        let Some(assigned) = self.assigned.get_mut(client) else {
            return Answered::missing("Could not find client");
        };
        match (method, rest) {
            ("GET", []) => {
                let scopes = self
                    .scopes
                    .iter()
                    .filter(|scope| assigned.iter().any(|name| scope["name"] == *name));
                Answered::of(
                    200,
                    scopes
                        .map(|scope| json!({ "id": scope["id"], "name": scope["name"] }))
                        .collect(),
                )
            }
            (_, [id]) => {
                let Some(index) = position(&self.scopes, "id", id) else {
                    return Answered::missing("Client scope not found");
                };
                let name = text(&self.scopes[index], "name").to_owned();
                assigned.retain(|one| *one != name);
                if method == "PUT" {
                    assigned.push(name);
                }
                Answered::done()
            }
            _ => Answered::not_allowed(),
        }
    }

    /// Clients with authorization services have settings, the usual ones at first.
    fn settle_authorization(&mut self) {
        let with: Vec<String> = self
            .clients
            .iter()
            .filter(|client| client["authorizationServicesEnabled"] == true)
            .map(|client| text(client, "id").to_owned())
            .collect();
        self.authorization.retain(|id, _| with.contains(id));
        for id in with {
            self.authorization.entry(id).or_insert_with(|| {
                json!({
                    "allowRemoteResourceManagement": true, "policyEnforcementMode": "ENFORCING",
                    "resources": [{ "name": "Default Resource", "uris": ["/*"] }],
                    "policies": [], "scopes": [], "decisionStrategy": "UNANIMOUS",
                })
            });
        }
    }

    fn authorization(&mut self, method: &str, client: &str, rest: &[&str], body: Value) -> Answered {
        let Some(settings) = self.authorization.get_mut(client) else {
            return Answered::missing("HTTP 404 Not Found");
        };
        match (method, rest) {
            ("GET", ["settings"]) => Answered::of(200, settings.clone()),
            ("GET", []) => {
                let mut brief = settings.clone();
                if let Value::Object(brief) = &mut brief {
                    for list in ["resources", "policies", "scopes"] {
                        brief.remove(list);
                    }
                }
                Answered::of(200, brief)
            }
            ("PUT", []) => {
                if let Value::Object(settings) = settings {
                    lay(settings, body);
                }
                Answered::done()
            }
            // What has a name that is known is changed; what has none of these names stays.
            ("POST", ["import"]) => {
                let Value::Object(sent) = body else {
                    return Answered::of(400, json!({ "error": "unknown_error" }));
                };
                for (key, value) in sent {
                    match (settings.get_mut(&key).and_then(Value::as_array_mut), value) {
                        (Some(items), Value::Array(sent)) => {
                            for item in sent {
                                match position(items, "name", text(&item, "name")) {
                                    Some(index) => items[index] = item,
                                    None => items.push(item),
                                }
                            }
                        }
                        (_, value) => settings[&key] = value,
                    }
                }
                Answered::done()
            }
            _ => Answered::not_allowed(),
        }
    }
}

/// Reads, changes or removes one of several.
fn one(method: &str, items: &mut Vec<Value>, key: &str, name: &str, body: Value, missing: &str) -> Answered {
    let Some(index) = position(items, key, name) else {
        return Answered::missing(missing);
    };
    match method {
        "GET" => Answered::of(200, items[index].clone()),
        "PUT" => {
            if let Value::Object(item) = &mut items[index] {
                lay(item, body);
            }
            Answered::done()
        }
        "DELETE" => {
            items.remove(index);
            Answered::done()
        }
        _ => Answered::not_allowed(),
    }
}

fn position(items: &[Value], key: &str, name: &str) -> Option<usize> {
    items.iter().position(|item| item[key] == name)
}

/// Lays the fields that were sent over those that stand.
fn lay(fields: &mut Map<String, Value>, sent: Value) {
    if let Value::Object(sent) = sent {
        fields.extend(sent.into_iter().filter(|(_, value)| !value.is_null()));
    }
}

fn without(mut body: Value, key: &str) -> Value {
    if let Value::Object(map) = &mut body {
        map.remove(key);
    }
    body
}

/// What a list tells of a role: its attributes are left out.
fn briefly(role: &Value) -> Value {
    without(role.clone(), "attributes")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn text_of<'a>(fields: &'a Map<String, Value>, key: &str) -> &'a str {
    fields.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Takes apart what comes with a realm: kinds of things, each with its items.
fn split(body: Value) -> (Vec<(&'static str, Vec<Value>)>, Value) {
    let Value::Object(mut map) = body else {
        return (Vec::new(), body);
    };
    let list = |value: Option<Value>| match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let roles = map.remove("roles").map(|roles| roles["realm"].clone());
    let parts = vec![
        ("roles", list(roles)),
        ("clients", list(map.remove("clients"))),
        ("users", list(map.remove("users"))),
    ];
    (parts, Value::Object(map))
}

/// Reads a form or a query.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&key.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
