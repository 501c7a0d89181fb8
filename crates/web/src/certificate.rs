//! The few fields of an X.509 certificate that people ask for (source: RFC 5280, section 4.1; X.690 for DER).
//!
//! Whether it may be trusted is not judged here.

/// Until when a certificate is valid, and who issued it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Seconds since 1970.
    pub(crate) not_after_s: u64,
    /// The issuer's organization, or its name.
    pub(crate) issuer: String,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `organizationName` and `commonName` as object identifiers.
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

impl Certificate {
    /// Reads a certificate in DER; nothing when it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Certificate> {
        let mut all = Der(der);
        let mut certificate = Der(all.expect(SEQUENCE)?);
        let mut fields = Der(certificate.expect(SEQUENCE)?);
        if fields.peek() == Some(VERSION) {
            fields.next()?;
        }
        // Serial number, algorithm.
        fields.next()?;
        fields.next()?;
        let issuer = issuer(fields.expect(SEQUENCE)?);
        let mut validity = Der(fields.expect(SEQUENCE)?);
        validity.next()?;
        let (tag, text) = validity.next()?;
        Some(Certificate {
            not_after_s: time(tag, std::str::from_utf8(text).ok()?)?,
            issuer: issuer.unwrap_or_else(|| "an issuer without a name".to_owned()),
        })
    }
}

fn issuer(names: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut names = Der(names);
    while names.peek() == Some(SET) {
        let mut attribute = Der(names.expect(SET)?);
        let mut pair = Der(attribute.expect(SEQUENCE)?);
        let (_, kind) = pair.next()?;
        let (_, text) = pair.next()?;
        parts.push((kind, String::from_utf8_lossy(text).into_owned()));
    }
    [ORGANIZATION, COMMON_NAME]
        .iter()
        .find_map(|wanted| parts.iter().find(|(kind, _)| kind == wanted))
        .map(|(_, text)| text.clone())
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; years of two digits are those from 1950 to 2049.
fn time(tag: u8, text: &str) -> Option<u64> {
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year: i64 = digits.get(..2)?.parse().ok()?;
            (
                if year < 50 { 2000 + year } else { 1900 + year },
                digits.get(2..)?,
            )
        }
        GENERALIZED_TIME => (digits.get(..4)?.parse().ok()?, digits.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let days = days_since_1970(year, part(0)?, part(2)?);
    let seconds = days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?;
    u64::try_from(seconds).ok()
}

/// Days from 1 January 1970 in the Gregorian calendar, counted from March so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A moment as the day it falls on, such as `2027-02-14`.
pub(crate) fn day(seconds: u64) -> String {
    let days = i64::try_from(seconds / 86_400).unwrap_or_default() + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + later)
}

/// What is left to read of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and what it holds.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            let (bytes, after) = rest.split_at_checked(length & 0x7f)?;
            if bytes.len() > 4 {
                return None;
            }
            length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_as_calendars_have_them() {
        for (seconds, told) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_792_540_799, "2026-10-20"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(day(seconds), told);
        }
        assert_eq!(time(UTC_TIME, "261020235959Z"), Some(1_792_540_799));
        assert_eq!(time(GENERALIZED_TIME, "21000101000000Z"), Some(4_102_444_800));
        assert_eq!(time(UTC_TIME, "261020235959"), None);
    }

    #[test]
    fn what_is_no_certificate_is_not_read() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 0xff], &[0x30, 0x02, 0x30, 0x05]] {
            assert_eq!(Certificate::read(bytes), None);
        }
    }
}
