//! As much of HTML as a sign-in page takes: its forms, and what it says in words.
//!
//! Scripts are not run. A provider whose form is drawn by a script only cannot be signed in to here.

/// A form on a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// Where it is sent, as written.
    pub(crate) action: String,
    /// Whether it is sent with POST.
    pub(crate) posts: bool,
    /// Its fields.
    pub(crate) fields: Vec<Field>,
}

/// A field of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) value: String,
}

impl Form {
    pub(crate) fn field(&self, kind: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.kind == kind)
    }

    /// The field a user's name goes into.
    pub(crate) fn who(&self) -> Option<&Field> {
        const NAMES: [&str; 6] = ["username", "login", "email", "user", "identifier", "loginfmt"];
        let texts = || {
            self.fields
                .iter()
                .filter(|field| matches!(field.kind.as_str(), "text" | "email"))
        };
        let named = texts().find(|field| {
            let name = field.name.to_lowercase();
            NAMES.iter().any(|one| name.contains(one))
        });
        named.or_else(|| texts().next())
    }
}

/// What stands on a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) forms: Vec<Form>,
    pub(crate) title: String,
    /// Texts that the page marks as complaints.
    pub(crate) complaints: Vec<String>,
}

/// Elements that have no end.
const VOID: [&str; 8] = ["input", "br", "img", "meta", "link", "hr", "source", "col"];

impl Page {
    pub(crate) fn read(html: &str) -> Page {
        let mut page = Page::default();
        let mut form: Option<Form> = None;
        // How deep we are inside of an element that complains, and what it has said.
        let mut complaint: Option<(usize, String)> = None;
        let mut in_title = false;
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let text = decoded(&rest[..at]);
            if in_title {
                page.title.push_str(text.trim());
            }
            if let Some((_, said)) = &mut complaint {
                said.push(' ');
                said.push_str(&text);
            }
            rest = &rest[at..];
            if let Some(comment) = rest.strip_prefix("<!--") {
                rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
                continue;
            }
            let Some(tag) = Tag::read(rest) else { break };
            rest = &rest[tag.length..];
            if matches!(tag.name.as_str(), "script" | "style") && !tag.closes {
                let end = format!("</{}", tag.name);
                rest = rest.to_ascii_lowercase().find(&end).map_or("", |at| &rest[at..]);
                continue;
            }
            match (tag.name.as_str(), tag.closes) {
                ("title", closes) => in_title = !closes && page.title.is_empty(),
                ("form", false) => {
                    form = Some(Form {
                        action: tag.get("action"),
                        posts: tag.get("method").eq_ignore_ascii_case("post"),
                        fields: Vec::new(),
                    });
                }
                ("form", true) => page.forms.extend(form.take()),
                ("input" | "button", false) => {
                    if let Some(form) = &mut form {
                        form.fields.push(tag.field());
                    }
                }
                _ => {}
            }
            let is_void = VOID.contains(&tag.name.as_str());
            match &mut complaint {
                Some((depth, _)) if tag.closes => {
                    *depth -= 1;
                    if *depth == 0
                        && let Some((_, said)) = complaint.take()
                    {
                        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
                        if !said.is_empty() && !page.complaints.contains(&said) {
                            page.complaints.push(said);
                        }
                    }
                }
                Some((depth, _)) if !is_void => *depth += 1,
                None if tag.complains() && !is_void => complaint = Some((1, String::new())),
                _ => {}
            }
        }
        // A form that is not closed is one all the same.
        page.forms.extend(form);
        page
    }
}

struct Tag {
    name: String,
    closes: bool,
    attributes: Vec<(String, String)>,
    length: usize,
}

impl Tag {
    /// Reads the tag that `text` begins with.
    fn read(text: &str) -> Option<Tag> {
        let bytes = text.as_bytes();
        let closes = bytes.get(1) == Some(&b'/');
        let mut at = 1 + usize::from(closes);
        let name = word(text, &mut at, |byte| byte.is_ascii_alphanumeric() || byte == b'!');
        let mut attributes = Vec::new();
        loop {
            while bytes
                .get(at)
                .is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'/')
            {
                at += 1;
            }
            match bytes.get(at)? {
                b'>' => break,
                _ => {
                    let start = at;
                    let key = word(text, &mut at, |byte| {
                        !byte.is_ascii_whitespace() && !matches!(byte, b'=' | b'>' | b'/')
                    });
                    let value = value(text, &mut at);
                    // A stray `=` would keep us here for ever.
                    if at == start {
                        at += 1;
                    }
                    attributes.push((key, value));
                }
            }
        }
        Some(Tag {
            name,
            closes,
            attributes,
            length: at + 1,
        })
    }

    fn get(&self, key: &str) -> String {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn field(&self) -> Field {
        let kind = self.get("type").to_lowercase();
        let usual = if self.name == "button" { "submit" } else { "text" };
        Field {
            name: self.get("name"),
            kind: if kind.is_empty() { usual.to_owned() } else { kind },
            value: self.get("value"),
        }
    }

    /// Whether the element is there to say what is wrong.
    fn complains(&self) -> bool {
        const WORDS: [&str; 5] = ["error", "alert", "danger", "invalid", "flash"];
        if self.closes || matches!(self.name.as_str(), "body" | "html" | "form") {
            return false;
        }
        let role = self.get("role");
        let said = format!("{} {}", self.get("class"), self.get("id")).to_lowercase();
        role == "alert" || WORDS.iter().any(|word| said.contains(word))
    }
}

/// Walks over a word, which comes back in lower case.
fn word(text: &str, at: &mut usize, fits: impl Fn(u8) -> bool) -> String {
    let start = *at;
    while text.as_bytes().get(*at).is_some_and(|byte| fits(*byte)) {
        *at += 1;
    }
    text.get(start..*at).unwrap_or_default().to_ascii_lowercase()
}

/// Walks over `= value`, when there is one.
fn value(text: &str, at: &mut usize) -> String {
    let bytes = text.as_bytes();
    let skip = |at: &mut usize| {
        while bytes.get(*at).is_some_and(u8::is_ascii_whitespace) {
            *at += 1;
        }
    };
    let mut ahead = *at;
    skip(&mut ahead);
    if bytes.get(ahead) != Some(&b'=') {
        return String::new();
    }
    ahead += 1;
    skip(&mut ahead);
    let quote = bytes
        .get(ahead)
        .copied()
        .filter(|byte| matches!(byte, b'"' | b'\''));
    let start = ahead + usize::from(quote.is_some());
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        let ends = match quote {
            Some(quote) => *byte == quote,
            None => byte.is_ascii_whitespace() || *byte == b'>',
        };
        if ends {
            break;
        }
        end += 1;
    }
    *at = (end + usize::from(quote.is_some())).min(bytes.len());
    decoded(text.get(start..end).unwrap_or_default())
}

/// Text with the character references that pages really use put in.
fn decoded(text: &str) -> String {
    const NAMED: [(&str, char); 6] = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", ' '),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest[1..].split_once(';').map(|(reference, _)| reference);
        let letter = reference.filter(|one| one.len() <= 8).and_then(|one| {
            let number = match one.strip_prefix('#') {
                Some(number) => match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                },
                None => {
                    return NAMED
                        .iter()
                        .find(|(name, _)| *name == one)
                        .map(|(_, letter)| *letter);
                }
            };
            char::from_u32(number?)
        });
        match (reference, letter) {
            (Some(reference), Some(letter)) => {
                out.push(letter);
                rest = &rest[reference.len() + 2..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_page_is_its_form_and_its_complaints() {
        let page = Page::read(
            r#"<!doctype html><html><head><title>Sign in &amp; go</title>
            <script>if (1 < 2) { document.write("<form action='/wrong'>") }</script></head>
            <body class="login error-page-less"><!-- <form action="/hidden"> -->
            <span id="input-error" aria-live="polite"> Invalid username
              or <b>password</b>. </span>
            <form id="kc-form-login" onsubmit="login.disabled = true; return true;"
              action="https://id.acme.example/authenticate?session=1&amp;tab=2" method="post">
              <input tabindex="2" id="username" name="username" value="" type="text" autofocus>
              <input type=password name='password'/>
              <input type="hidden" name="credentialId" value="a&quot;b">
              <button name="login" value="yes">Sign in</button>
            </form></body></html>"#,
        );
        insta::assert_debug_snapshot!((&page.title, &page.complaints, &page.forms));
        assert_eq!(
            page.forms[0].who().map(|field| field.name.as_str()),
            Some("username")
        );
    }

    #[test]
    fn broken_pages_end() {
        for html in [
            "<",
            "<form",
            "<form action=",
            "<a =",
            "<script>",
            "<!--",
            "&#x;",
            "<form><input =>",
        ] {
            Page::read(html);
        }
    }
}
