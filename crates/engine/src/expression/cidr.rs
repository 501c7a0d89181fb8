//! Arithmetic on IPv4 networks for expressions, with the meaning Terraform users know: a network that is
//! written wrongly is an error, never an empty result.

use cel::common::types::{CelBool, CelInt, CelString};
use cel::{DeclarationError, Env, ExecutionError};
use ipnet::Ipv4Net;

/// Adds the functions.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    cel::add_overload!(env, fn subnet: (CelString, CelInt, CelInt) -> Result<CelString>, name = "cidrSubnet")?;
    cel::add_overload!(env, fn contains: (CelString, CelString) -> Result<CelBool>, name = "cidrContains")?;
    cel::add_overload!(env, fn overlaps: (CelString, CelString) -> Result<CelBool>, name = "cidrOverlaps")?;
    cel::add_overload!(env, fn prefix: (CelString) -> Result<CelInt>, name = "cidrPrefix")?;
    Ok(())
}

/// The `number`th network whose prefix is `new_bits` longer, as Terraform's `cidrsubnet`.
fn subnet(
    network: &CelString<'_>,
    new_bits: &CelInt,
    number: &CelInt,
) -> Result<CelString<'static>, ExecutionError> {
    let failed = |why: String| ExecutionError::function_error("cidrSubnet", why);
    let outer = network_of("cidrSubnet", network.inner())?;
    let (new_bits, number) = (*new_bits.inner(), *number.inner());
    let prefix = u8::try_from(i64::from(outer.prefix_len()).saturating_add(new_bits))
        .ok()
        .filter(|prefix| new_bits >= 0 && *prefix <= 32)
        .ok_or_else(|| failed(format!("{outer} cannot be {new_bits} bits longer")))?;
    let room = 1_i64 << new_bits;
    if !(0..room).contains(&number) {
        return Err(failed(format!(
            "{outer} has {room} networks that are {new_bits} bits longer, so there is no number {number}"
        )));
    }
    let size = 1_u64 << (32 - prefix);
    let offset = u64::try_from(number).unwrap_or_default() * size;
    let first = u64::from(u32::from(outer.network())) + offset;
    let address = u32::try_from(first).unwrap_or(u32::MAX);
    let inner = Ipv4Net::new(address.into(), prefix).map_err(|error| failed(error.to_string()))?;
    Ok(CelString::from(inner.to_string()))
}

/// Whether a network or an address lies in a network.
fn contains(outer: &CelString<'_>, inner: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    let outer = network_of("cidrContains", outer.inner())?;
    let inner = match inner.inner().parse() {
        Ok(address) => Ipv4Net::from(std::net::Ipv4Addr::clone(&address)),
        Err(_) => network_of("cidrContains", inner.inner())?,
    };
    Ok(CelBool::from(outer.contains(&inner)))
}

/// Whether two networks have an address in common.
fn overlaps(one: &CelString<'_>, other: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    let one = network_of("cidrOverlaps", one.inner())?;
    let other = network_of("cidrOverlaps", other.inner())?;
    Ok(CelBool::from(one.contains(&other) || other.contains(&one)))
}

/// How many bits of a network are fixed.
fn prefix(network: &CelString<'_>) -> Result<CelInt, ExecutionError> {
    Ok(CelInt::from(i64::from(
        network_of("cidrPrefix", network.inner())?.prefix_len(),
    )))
}

fn network_of(function: &str, text: &str) -> Result<Ipv4Net, ExecutionError> {
    let failed = |why: String| ExecutionError::function_error(function, why);
    let network: Ipv4Net = text
        .parse()
        .map_err(|_| failed(format!("`{text}` is no IPv4 network such as 10.0.0.0/16")))?;
    if network.addr() != network.network() {
        return Err(failed(format!(
            "`{text}` has bits set behind its prefix; the network is {}",
            network.trunc()
        )));
    }
    Ok(network)
}
