//! A name resolves.
//!
//! Asks DNS itself: neither the machine's hosts file nor an earlier answer kept in memory can make a
//! name resolve here that does not for others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType as Kind};
use hickory_resolver::{Resolver, TokioResolver};
use landfall_model::definition::{DnsCheck, RecordType};
use landfall_model::provider::{Failure, Outputs};

use crate::{Held, Miss, Seen};

/// How long one look may take, all servers and both protocols together.
const ONE_LOOK: Duration = Duration::from_secs(10);
/// The last look, near the deadline, still gets this long to be answered.
const AT_LEAST: Duration = Duration::from_secs(1);

/// Asks once.
pub(crate) async fn look(check: &DnsCheck, left: Duration) -> Result<Held, Miss> {
    let name = fully_qualified(&check.name)?;
    // A new resolver each time: it starts with nothing remembered, and reads what the system says
    // about servers now, which changes when a network or VPN comes up.
    let resolver = resolver(check)?;
    let lookup = resolver.lookup(name, kind(check.kind));
    let answer = tokio::time::timeout(left.clamp(AT_LEAST, ONE_LOOK), lookup).await;
    let answers = match answer {
        Ok(Ok(found)) => answers(&found, check.kind),
        Ok(Err(error)) => return Err(unresolved(check, &error).into()),
        Err(_) => return Err(unresolved(check, &NetError::Timeout).into()),
    };
    if answers.is_empty() {
        return Err(no_such_record(check).into());
    }
    if let Some(wanted) = &check.contains
        && !answers.iter().any(|answer| same(check.kind, answer, wanted))
    {
        return Err(seen(
            check,
            "other answer",
            format!(
                "{} resolves to {}, not yet to {wanted}",
                check.name,
                answers.join(", ")
            ),
            format!(
                "check the record; one that was changed answers as before until its time to live is over: {}",
                dig(check)
            ),
        )
        .into());
    }
    let notes = vec![format!("{} resolves to {}", check.name, answers.join(", "))];
    let mut outputs = Outputs::new();
    outputs.insert("answers".to_owned(), answers.into());
    Ok(Held { outputs, notes })
}

/// The name as it stands, whatever search domains the machine has.
fn fully_qualified(name: &str) -> Result<Name, Miss> {
    let mut parsed = Name::from_utf8(name).map_err(|error| {
        Failure::new(format!("`{name}` cannot be asked for in DNS: {error}"))
            .way_out("give a domain name, such as portal.acme.example")
    })?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

fn resolver(check: &DnsCheck) -> Result<TokioResolver, Miss> {
    let mut builder = match &check.server {
        Some(server) => {
            let server = address(server)?;
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let config = ResolverConfig::from_name_servers(vec![NameServerConfig::new(
                server.ip(),
                true,
                vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())],
            )]);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => TokioResolver::builder_tokio().map_err(|error| no_servers(check, &error))?,
    };
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|error| no_servers(check, &error).into())
}

/// `address:port`; the port may be left out.
fn address(server: &str) -> Result<SocketAddr, Miss> {
    let ip = |_| server.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    server.parse().or_else(ip).map_err(|_| {
        Failure::new(format!("the DNS server `{server}` is not an address and a port"))
            .way_out("write the server's IP address and port, such as 192.0.2.53:53")
            .into()
    })
}

/// The machine may be between networks; that passes.
fn no_servers(check: &DnsCheck, error: &NetError) -> Seen {
    seen(
        check,
        "no server",
        format!("the machine's DNS servers are not known: {error}"),
        "check the machine's network and its resolver settings, or give the check a `server`".to_owned(),
    )
}

fn unresolved(check: &DnsCheck, error: &NetError) -> Seen {
    let name = &check.name;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            seen(
                check,
                "NXDOMAIN",
                format!("{name} does not resolve yet (NXDOMAIN)"),
                format!(
                    "check that the record was made, and that the zone is delegated: dig NS {}",
                    zone(name)
                ),
            )
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => no_such_record(check),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            let code = word(*code);
            seen(
                check,
                &code,
                format!("the DNS server could not answer for {name} ({code})"),
                format!(
                    "check that the name servers of the zone answer: dig +trace {}",
                    zone(name)
                ),
            )
        }
        NetError::Timeout => silent(check, "it took too long"),
        error => silent(check, &error.to_string()),
    }
}

fn no_such_record(check: &DnsCheck) -> Seen {
    let DnsCheck { name, kind, .. } = check;
    seen(
        check,
        "NODATA",
        format!("{name} has no {} record yet (NODATA)", letters(*kind)),
        format!(
            "the name exists, but not with this type; look at the record: {}",
            dig(check)
        ),
    )
}

fn silent(check: &DnsCheck, why: &str) -> Seen {
    let server = check
        .server
        .as_deref()
        .map_or("the machine's DNS server".to_owned(), |server| {
            format!("the DNS server {server}")
        });
    seen(
        check,
        "no answer",
        format!("{server} does not answer for {}: {why}", check.name),
        format!("check that the server can be reached from here: {}", dig(check)),
    )
}

fn seen(check: &DnsCheck, state: &str, what: String, way_out: String) -> Seen {
    Seen {
        what,
        resource: check.name.clone(),
        kind: letters(check.kind).to_owned(),
        state: state.to_owned(),
        way_out,
    }
}

fn answers(found: &Lookup, kind: RecordType) -> Vec<String> {
    let mut answers: Vec<String> = found
        .answers()
        .iter()
        .filter_map(|record| match (kind, &record.data) {
            (RecordType::A, RData::A(address)) => Some(address.to_string()),
            (RecordType::Aaaa, RData::AAAA(address)) => Some(address.to_string()),
            (RecordType::Cname, RData::CNAME(name)) => Some(undotted(&name.to_string()).to_owned()),
            (RecordType::Ns, RData::NS(name)) => Some(undotted(&name.to_string()).to_owned()),
            // Longer texts come in pieces of up to 255 bytes, which belong together.
            (RecordType::Txt, RData::TXT(text)) => {
                Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned())
            }
            // The chain of names that led to the answer.
            _ => None,
        })
        .collect();
    // Servers turn the order round with every answer.
    answers.sort();
    answers.dedup();
    answers
}

fn same(kind: RecordType, answer: &str, wanted: &str) -> bool {
    match kind {
        RecordType::A | RecordType::Aaaa => {
            let address = |text: &str| text.parse::<IpAddr>().ok();
            address(answer).is_some() && address(answer) == address(wanted.trim())
        }
        RecordType::Cname | RecordType::Ns => undotted(answer).eq_ignore_ascii_case(undotted(wanted.trim())),
        RecordType::Txt => answer == wanted,
    }
}

fn undotted(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The name above, which is where the delegation is most often missing.
fn zone(name: &str) -> &str {
    match undotted(name).split_once('.') {
        Some((_, above)) if above.contains('.') => above,
        _ => undotted(name),
    }
}

/// What to type to ask the same.
fn dig(check: &DnsCheck) -> String {
    let DnsCheck {
        name, kind, server, ..
    } = check;
    let kind = letters(*kind);
    match server.as_deref().map(address) {
        Some(Ok(server)) => format!("dig @{} -p {} {kind} {name}", server.ip(), server.port()),
        _ => format!("dig {kind} {name}"),
    }
}

fn letters(kind: RecordType) -> &'static str {
    match kind {
        RecordType::A => "A",
        RecordType::Aaaa => "AAAA",
        RecordType::Cname => "CNAME",
        RecordType::Txt => "TXT",
        RecordType::Ns => "NS",
    }
}

fn kind(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::Aaaa => Kind::AAAA,
        RecordType::Cname => Kind::CNAME,
        RecordType::Txt => Kind::TXT,
        RecordType::Ns => Kind::NS,
    }
}

/// The code as every other tool spells it.
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_the_name_above() {
        assert_eq!(zone("portal.dev.acme.example"), "dev.acme.example");
        assert_eq!(zone("portal.acme.example."), "acme.example");
        assert_eq!(zone("acme.example"), "acme.example");
        assert_eq!(zone("localhost"), "localhost");
    }

    #[test]
    fn a_server_is_an_address_with_or_without_a_port() {
        let read = |server| address(server).map(|address| address.to_string()).ok();
        assert_eq!(read("192.0.2.53:5353").as_deref(), Some("192.0.2.53:5353"));
        assert_eq!(read("192.0.2.53").as_deref(), Some("192.0.2.53:53"));
        assert_eq!(read("[2001:db8::53]:53").as_deref(), Some("[2001:db8::53]:53"));
        assert_eq!(read("ns1.acme.example:53"), None);
    }

    #[test]
    fn answers_are_compared_by_what_they_mean() {
        assert!(same(RecordType::Aaaa, "2001:db8::1", "2001:DB8:0::1"));
        assert!(!same(RecordType::A, "192.0.2.1", "not an address"));
        assert!(same(RecordType::Ns, "ns1.acme.example", "NS1.acme.example."));
        assert!(!same(RecordType::Txt, "Token", "token"));
    }
}
