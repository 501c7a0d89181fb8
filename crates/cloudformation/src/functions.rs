//! CloudFormation's functions over values that are filled in already, or marked as unknown.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::Value;

use crate::resolve::{is_unknown, pattern, unknown, unknown_text};

/// Carries out a function that needs nothing but its arguments. One that only CloudFormation can carry
/// out, or that is used wrongly, gives something unknown.
pub(crate) fn call(name: &str, arguments: &Value) -> Value {
    let items = arguments.as_array().map(Vec::as_slice).unwrap_or_default();
    let result = match (name, items) {
        ("Fn::Join", [Value::String(between), list]) => joined(between, list),
        ("Fn::Split", [Value::String(at), Value::String(text)]) => Some(split(at, text)),
        ("Fn::Select", [at, list]) => selected(at, list),
        ("Fn::Cidr", [block, count, bits]) => networks(block, count, bits),
        ("Fn::Base64", _) => arguments.as_str().map(|text| base64(text.as_bytes()).into()),
        _ => None,
    };
    result.unwrap_or_else(unknown)
}

/// A plain value as the text CloudFormation makes of it.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(text).collect();
            items.map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// Whether a value says yes or no.
pub(crate) fn truth(value: &Value) -> Option<bool> {
    text(value)?.parse().ok()
}

/// Whether two values are the same to CloudFormation, for which a number is the text it is written as.
/// None when that depends on something unknown.
pub(crate) fn equal(left: &Value, right: &Value) -> Option<bool> {
    if is_unknown(left) || is_unknown(right) {
        return None;
    }
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            if left.len() != right.len() {
                return Some(false);
            }
            let mut known = Some(true);
            for (left, right) in left.iter().zip(right) {
                match equal(left, right) {
                    Some(true) => {}
                    Some(false) => return Some(false),
                    None => known = None,
                }
            }
            known
        }
        _ => Some(match (text(left), text(right)) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        }),
    }
}

/// A text that is put together of parts.
#[derive(Default)]
pub(crate) struct Text {
    text: String,
    unknown: bool,
}

impl Text {
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(crate) fn add(&mut self, value: &Value) {
        match text(value) {
            Some(text) => self.text.push_str(&text),
            None => {
                self.unknown = true;
                self.text.push_str(pattern(value).unwrap_or("*"));
            }
        }
    }

    pub(crate) fn value(self) -> Value {
        if self.unknown {
            unknown_text(&self.text)
        } else {
            self.text.into()
        }
    }
}

fn joined(between: &str, list: &Value) -> Option<Value> {
    let mut whole = Text::default();
    for (at, item) in list.as_array()?.iter().enumerate() {
        if at > 0 {
            whole.push(between);
        }
        whole.add(item);
    }
    Some(whole.value())
}

fn split(at: &str, text: &str) -> Value {
    text.split(at).map(Value::from).collect()
}

fn selected(at: &Value, list: &Value) -> Option<Value> {
    let at: usize = text(at)?.parse().ok()?;
    list.as_array()?.get(at).cloned()
}

/// `Fn::Cidr`: the first `count` networks inside a block that leave `bits` for addresses.
fn networks(block: &Value, count: &Value, bits: &Value) -> Option<Value> {
    const MOST: u128 = 256;
    let block = text(block)?;
    let (address, prefix) = block.split_once('/')?;
    let (count, bits): (u128, u32) = (text(count)?.parse().ok()?, text(bits)?.parse().ok()?);
    let prefix: u32 = prefix.parse().ok()?;
    let (first, width): (u128, u32) = match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let room = width.checked_sub(prefix)?.checked_sub(bits)?;
    let too_many = room < 8 && count > 1 << room;
    if too_many || count == 0 || count > MOST || bits >= width {
        return None;
    }
    // The block's own address bits do not count.
    let kept = first.checked_shr(width - prefix).unwrap_or(0);
    let first = kept.checked_shl(width - prefix).unwrap_or(0);
    let network = |at: u128| {
        let address = first + (at << bits);
        let address: IpAddr = match u32::try_from(address) {
            Ok(short) if width == 32 => IpAddr::V4(short.into()),
            _ => IpAddr::V6(address.into()),
        };
        Value::from(format!("{address}/{}", width - bits))
    };
    Some((0..count).map(network).collect())
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for at in 0..4 {
            if at > chunk.len() {
                text.push('=');
            } else {
                let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
                let _ = write!(text, "{}", char::from(digit));
            }
        }
    }
    text
}
