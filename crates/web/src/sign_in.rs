//! A person can sign in: redirects are followed with cookies kept, the provider's form is filled in and sent, and the
//! end is the callback.
//!
//! The callback itself is not called: the code in it belongs to the application. Wrong credentials are not tried twice,
//! since providers lock users out.

use std::time::Duration;

use landfall_model::definition::SignInCheck;
use landfall_model::provider::{Failure, Outputs};
use landfall_model::request::is_secret_reference;
use landfall_runner::SecretReader;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Response, Url};

use crate::html::{Form, Page};
use crate::http::{beginning, client, is_loopback, parse, show, unanswered};
use crate::request::reference;
use crate::{Held, Miss, Seen};

const ONE_TRY: Duration = Duration::from_secs(10);
const AT_LEAST: Duration = Duration::from_secs(1);
/// More pages and redirects than any sign-in has.
const HOPS: usize = 25;

/// Goes the whole way once.
pub(crate) async fn look(
    check: &SignInCheck,
    secrets: Option<&dyn SecretReader>,
    left: Duration,
) -> Result<Held, Miss> {
    let start = parse(&check.start)?;
    parse(&check.callback)?;
    let who = credentials(check, secrets).await?;
    let mut browser = Browser {
        cookies: Vec::new(),
        time: left.clamp(AT_LEAST, ONE_TRY),
    };
    let mut at = start.clone();
    let mut response = browser.get(&at).await?;
    let mut signed_in = false;
    for _ in 0..HOPS {
        if let Some(to) = redirected(&at, &response) {
            if to.as_str().starts_with(&check.callback) {
                return arrived(&at, &to, who.is_some());
            }
            response = browser.get(&to).await?;
            at = to;
            continue;
        }
        let status = response.status().as_u16();
        let body = beginning(response)
            .await
            .map_err(|error| unanswered(&at, browser.time, error))?;
        let page = Page::read(&String::from_utf8_lossy(&body));
        let form = chosen(&page);
        match (form, &who) {
            // Nothing more can be seen without a user.
            (Some(form), None) if form.who().is_some() || form.field("password").is_some() => {
                return Ok(Held {
                    outputs: Outputs::from_iter([("provider".to_owned(), show(&at).into())]),
                    notes: vec![format!("{} leads to the form of {}", show(&start), show(&at))],
                });
            }
            (Some(form), Some(_)) if form.field("password").is_some() && signed_in => {
                return Err(refused(&at, &page).into());
            }
            (Some(form), who) => {
                if let (Some(_), Some(_)) = (form.field("password"), who) {
                    signed_in = true;
                }
                let filled = filled(form, who.as_ref());
                let to = at.join(&form.action).unwrap_or_else(|_| at.clone());
                if to.as_str().starts_with(&check.callback) {
                    return posted(&at, &filled, who.is_some());
                }
                response = browser.send(&to, form, &filled).await?;
                at = to;
            }
            (None, _) => return Err(no_form(&at, status, &page).into()),
        }
    }
    Err(Seen {
        what: format!("{} leads on and on, at last to {}", show(&start), show(&at)),
        resource: show(&at),
        kind: "sign-in".to_owned(),
        state: "in circles".to_owned(),
        way_out: "open the address in a private window of a browser and see where it goes round".to_owned(),
    }
    .into())
}

struct Credentials {
    username: String,
    password: String,
}

async fn credentials(
    check: &SignInCheck,
    secrets: Option<&dyn SecretReader>,
) -> Result<Option<Credentials>, Miss> {
    let (username, password) = match (&check.username, &check.password) {
        (None, None) => return Ok(None),
        (Some(username), Some(password)) => (username, password),
        _ => {
            return Err(
                Failure::new("the sign-in check has a user's name or password, but not both")
                    .way_out("give both, or none to look at the form only")
                    .into(),
            );
        }
    };
    if !is_secret_reference(password) {
        return Err(Failure::new(
            "`password` of the sign-in check takes a secret, and journals hold this value",
        )
        .way_out("put the password into AWS Secrets Manager and give a dynamic reference to it")
        .into());
    }
    let username = reference::resolved(username, secrets)
        .await
        .map_err(Miss::Never)?;
    let password = reference::resolved(password, secrets)
        .await
        .map_err(Miss::Never)?;
    Ok(Some(Credentials { username, password }))
}

/// The form that leads on: the one that asks for a password, then one that asks who it is, then the only one there is.
fn chosen(page: &Page) -> Option<&Form> {
    let forms = &page.forms;
    let with_password = forms.iter().find(|form| form.field("password").is_some());
    let only = match forms.as_slice() {
        [form] if !form.fields.is_empty() => Some(form),
        _ => None,
    };
    with_password
        .or_else(|| forms.iter().find(|form| form.posts && form.who().is_some()))
        .or(only)
}

/// What a browser would send: hidden fields, what a person fills in, and the first button.
fn filled(form: &Form, who: Option<&Credentials>) -> Vec<(String, String)> {
    let name_goes = form.who().map(|field| field.name.clone());
    let mut pressed = false;
    let mut pairs = Vec::new();
    for field in form.fields.iter().filter(|field| !field.name.is_empty()) {
        let value = match (field.kind.as_str(), who) {
            ("password", Some(who)) => who.password.clone(),
            ("text" | "email", Some(who)) if name_goes.as_ref() == Some(&field.name) => who.username.clone(),
            ("submit", _) if pressed => continue,
            ("submit", _) => {
                pressed = true;
                field.value.clone()
            }
            ("checkbox" | "radio" | "button" | "reset" | "image" | "file", _) => continue,
            _ => field.value.clone(),
        };
        pairs.push((field.name.clone(), value));
    }
    pairs
}

fn redirected(at: &Url, response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    at.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()
}

/// The end of the way: the callback's own query says whether it went well.
fn arrived(from: &Url, to: &Url, signed_in: bool) -> Result<Held, Miss> {
    let fragment = to.fragment().unwrap_or_default().to_owned();
    let of_fragment = Url::parse(&format!("http://x/?{fragment}")).ok();
    let pairs: Vec<(String, String)> = to
        .query_pairs()
        .chain(of_fragment.iter().flat_map(Url::query_pairs))
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    posted_to(from, &show(to), &pairs, signed_in)
}

fn posted(from: &Url, pairs: &[(String, String)], signed_in: bool) -> Result<Held, Miss> {
    posted_to(from, "the callback", pairs, signed_in)
}

fn posted_to(from: &Url, to: &str, pairs: &[(String, String)], signed_in: bool) -> Result<Held, Miss> {
    let get = |key: &str| pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    if let Some(error) = get("error") {
        let why = get("error_description").unwrap_or(error);
        return Err(Seen {
            what: format!("{} sends people back with an error ({why})", show(from)),
            resource: show(from),
            kind: "sign-in".to_owned(),
            state: error.clone(),
            way_out: "check the client at the provider: its redirect addresses, scopes and kind of sign-in (code with \
                      PKCE)"
                .to_owned(),
        }
        .into());
    }
    let note = if signed_in {
        format!("signing in at {} ends at {to}", show(from))
    } else {
        format!(
            "{} sends people on to {to} without asking who they are",
            show(from)
        )
    };
    Ok(Held {
        outputs: Outputs::from_iter([("provider".to_owned(), show(from).into())]),
        notes: vec![note],
    })
}

fn refused(at: &Url, page: &Page) -> Failure {
    let said = match page.complaints.first() {
        Some(complaint) => format!("it says: {complaint}"),
        None => "it shows its form again without a word".to_owned(),
    };
    Failure::new(format!("{} does not let the user in; {said}", show(at))).way_out(
        "check the user's name and the secret with the password at the provider; not tried again, since providers lock \
         users out",
    )
}

fn no_form(at: &Url, status: u16, page: &Page) -> Seen {
    let said = match (page.complaints.first(), page.title.as_str()) {
        (Some(complaint), _) => format!(", it says: {complaint}"),
        (None, "") => String::new(),
        (None, title) => format!(", its title is “{title}”"),
    };
    Seen {
        what: format!("{} answers {status} and has no form to sign in with{said}", show(at)),
        resource: show(at),
        kind: "sign-in".to_owned(),
        state: status.to_string(),
        way_out: "open the address in a private window of a browser; forms that only a script draws cannot be filled in \
                  from here"
            .to_owned(),
    }
}

/// What a browser keeps between pages.
struct Browser {
    cookies: Vec<Cookie>,
    time: Duration,
}

#[derive(Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    /// With a leading point when subdomains get it too.
    domain: String,
    path: String,
    secure: bool,
}

impl Browser {
    async fn get(&mut self, to: &Url) -> Result<Response, Miss> {
        let request = client(to, self.time)?.get(to.clone());
        self.done(to, request).await
    }

    async fn send(&mut self, to: &Url, form: &Form, pairs: &[(String, String)]) -> Result<Response, Miss> {
        if to.scheme() != "https" && !is_loopback(to) {
            return Err(Failure::new(format!(
                "the form would be sent to {}, which is not encrypted",
                show(to)
            ))
            .way_out("let the provider be reached by https")
            .into());
        }
        let mut body = Url::parse("http://x/").map_err(|error| Failure::new(error.to_string()))?;
        body.query_pairs_mut().extend_pairs(pairs);
        let query = body.query().unwrap_or_default().to_owned();
        let request = if form.posts {
            client(to, self.time)?
                .post(to.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(query)
        } else {
            let mut to = to.clone();
            to.set_query(Some(&query));
            client(&to, self.time)?.get(to)
        };
        self.done(to, request).await
    }

    async fn done(&mut self, to: &Url, request: reqwest::RequestBuilder) -> Result<Response, Miss> {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.goes_to(to))
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        let request = if cookies.is_empty() {
            request
        } else {
            request.header(COOKIE, cookies.join("; "))
        };
        let response = request
            .send()
            .await
            .map_err(|error| unanswered(to, self.time, error))?;
        for header in response.headers().get_all(SET_COOKIE) {
            if let Some(cookie) = header.to_str().ok().and_then(|text| Cookie::read(text, to)) {
                let is_same = |one: &Cookie| {
                    (&one.name, &one.domain, &one.path) == (&cookie.name, &cookie.domain, &cookie.path)
                };
                self.cookies.retain(|one| !is_same(one));
                self.cookies.push(cookie);
            }
        }
        Ok(response)
    }
}

impl Cookie {
    /// Reads a `Set-Cookie` of `from` (source: RFC 6265, section 5.2). How long it lasts is left aside: a sign-in is
    /// over before; one that is taken back comes with an empty value.
    fn read(header: &str, from: &Url) -> Option<Cookie> {
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let host = from.host_str()?;
        let directory = from
            .path()
            .rsplit_once('/')
            .map_or("/", |(directory, _)| directory);
        let mut cookie = Cookie {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            domain: host.to_owned(),
            path: if directory.is_empty() { "/" } else { directory }.to_owned(),
            secure: false,
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.trim().to_ascii_lowercase().as_str() {
                "domain" => {
                    let domain = value.trim().trim_start_matches('.').to_ascii_lowercase();
                    // Nobody may set cookies for others.
                    if host == domain || host.ends_with(&format!(".{domain}")) {
                        cookie.domain = format!(".{domain}");
                    }
                }
                "path" if value.trim().starts_with('/') => value.trim().clone_into(&mut cookie.path),
                "secure" => cookie.secure = true,
                _ => {}
            }
        }
        Some(cookie)
    }

    fn goes_to(&self, to: &Url) -> bool {
        let host = to.host_str().unwrap_or_default();
        let domain = match self.domain.strip_prefix('.') {
            Some(domain) => host == domain || host.ends_with(&self.domain),
            None => host == self.domain,
        };
        let path = to.path();
        let below = path
            .strip_prefix(self.path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/'));
        domain && below && (!self.secure || to.scheme() == "https" || is_loopback(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_go_back_where_they_came_from() {
        let from: Url = "https://id.acme.example/realms/a/login".parse().unwrap();
        let goes = |header: &str, to: &str| {
            Cookie::read(header, &from)
                .unwrap()
                .goes_to(&to.parse::<Url>().unwrap())
        };
        assert!(goes(
            "a=1; Path=/realms/a/; Secure",
            "https://id.acme.example/realms/a/next"
        ));
        assert!(goes("a=1", "https://id.acme.example/realms/a/next"));
        assert!(!goes("a=1", "https://id.acme.example/realms/b/next"));
        assert!(!goes("a=1; Path=/", "https://acme.example/"));
        assert!(goes(
            "a=1; Path=/; Domain=acme.example",
            "https://portal.acme.example/"
        ));
        assert!(!goes(
            "a=1; Path=/; Domain=other.example",
            "https://other.example/"
        ));
        assert!(!goes("a=1; Path=/; Secure", "http://id.acme.example/"));
    }
}
