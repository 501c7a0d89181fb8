//! What resolvers see, for the few things that no API tells.

use std::time::Duration;

use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use landfall_model::question::Seen;

/// How long one look may take, all servers and both protocols together.
const ONE_LOOK: Duration = Duration::from_secs(10);

/// A name that every resolver of the internet has name servers for.
const EVERYBODY_SEES: &str = "amazonaws.com";

/// The name servers that this machine's resolvers see for a name.
pub(super) async fn name_servers(name: &str) -> Seen {
    match look(name, RecordType::NS).await {
        Ok(servers) if servers.is_empty() => nobody(look(EVERYBODY_SEES, RecordType::NS).await),
        Ok(servers) => Seen::Servers(servers),
        Err(why) => Seen::Unknown(why),
    }
}

/// What it means that no name server was found, by what is found for a name that has some: behind a proxy,
/// resolvers may know a company's own names only.
fn nobody(of_everybody: Result<Vec<String>, String>) -> Seen {
    match of_everybody {
        Ok(servers) if servers.is_empty() => {
            Seen::Unknown("the machine's DNS servers do not know the names of the internet".to_owned())
        }
        Ok(_) => Seen::Servers(Vec::new()),
        Err(why) => Seen::Unknown(why),
    }
}

/// Whether somebody has the name `name` below `domain`. Some resolvers have an address for every name: nothing
/// can be told by those.
pub(super) async fn is_taken(name: &str, domain: &str) -> Result<bool, String> {
    if look(&format!("{name}.{domain}"), RecordType::A).await?.is_empty() {
        return Ok(false);
    }
    let nobodys = format!("nobody-{:016x}.{domain}", fastrand::u64(..));
    match look(&nobodys, RecordType::A).await?.is_empty() {
        true => Ok(true),
        false => Err("the machine's DNS servers have an address for every name".to_owned()),
    }
}

/// Every record of a kind, as text; none when there is no such name.
async fn look(name: &str, kind: RecordType) -> Result<Vec<String>, String> {
    let mut asked = Name::from_utf8(name).map_err(|error| error.to_string())?;
    asked.set_fqdn(true);
    let mut builder: hickory_resolver::ResolverBuilder<_> = TokioResolver::builder_tokio()
        .map_err(|error| format!("the machine's DNS servers are not known: {error}"))?;
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    let resolver: Resolver<_> = builder.build().map_err(|error| error.to_string())?;
    match tokio::time::timeout(ONE_LOOK, resolver.lookup(asked, kind)).await {
        Err(_) => Err("the machine's DNS servers do not answer".to_owned()),
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => Ok(Vec::new()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => Ok(found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(server) => Some(server.0.to_ascii().trim_end_matches('.').to_lowercase()),
                RData::A(address) => Some(address.0.to_string()),
                _ => None,
            })
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_sees_nothing_proves_nothing() {
        let everybody = Ok(vec!["ns-1.amzndns.test".to_owned()]);
        assert_eq!(nobody(everybody), Seen::Servers(Vec::new()));
        assert!(matches!(nobody(Ok(Vec::new())), Seen::Unknown(_)));
        assert_eq!(
            nobody(Err("no answer".to_owned())),
            Seen::Unknown("no answer".to_owned())
        );
    }
}
