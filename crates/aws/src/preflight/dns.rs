//! What resolvers see, for the few things that no API tells.

use std::time::Duration;

use hickory_resolver::config::ResolveHosts;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use landfall_model::question::Seen;

/// How long one look may take, all servers and both protocols together.
const ONE_LOOK: Duration = Duration::from_secs(10);

/// The name servers that this machine's resolvers see for a name.
pub(super) async fn name_servers(name: &str) -> Seen {
    match look(name, RecordType::NS).await {
        Ok(servers) => Seen::Servers(servers),
        Err(why) => Seen::Unknown(why),
    }
}

/// Whether a name has an address.
pub(super) async fn resolves(name: &str) -> Result<bool, String> {
    Ok(!look(name, RecordType::A).await?.is_empty())
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
