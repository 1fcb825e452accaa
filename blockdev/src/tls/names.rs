//! The names in a client's certificate that an allow list can hold: common names of the subject, DNS names and URIs of
//! its alternative names. Which authority vouches for them is checked elsewhere, before.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::access::is_name;

/// The object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// UTF8String, PrintableString, IA5String: the kinds of string that are UTF-8.
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];

/// All names of a certificate that a list can hold, DNS names in lower case.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().map(str::to_ascii_lowercase);
    let uris = certificate.valid_uri_names().map(str::to_owned);
    let mut names: Vec<String> = common_names(certificate.subject()).into_iter().chain(dns).chain(uris).collect();
    names.retain(|name| is_name(name));
    names.sort();
    names.dedup();
    names
}

/// The common names of a subject: sets of pairs of an identifier and a string. None of one that is malformed.
fn common_names(subject: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = subject;
    while !rest.is_empty() {
        let Some(mut pairs) = take(&mut rest, |tag| tag == SET) else { return Vec::new() };
        while !pairs.is_empty() {
            let Some(pair) = take(&mut pairs, |tag| tag == SEQUENCE) else { return Vec::new() };
            names.extend(common_name(pair));
        }
    }
    names
}

fn common_name(mut pair: &[u8]) -> Option<String> {
    let identifier = take(&mut pair, |tag| tag == OBJECT_IDENTIFIER)?;
    let value = take(&mut pair, |tag| STRINGS.contains(&tag))?;
    let is_whole = identifier == COMMON_NAME && pair.is_empty();
    is_whole.then(|| std::str::from_utf8(value).ok().map(str::to_owned)).flatten()
}

/// Takes one DER value of a wanted kind off `input`, and returns what is in it.
fn take<'a>(input: &mut &'a [u8], is_wanted: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
    let (&[tag, len], after) = input.split_first_chunk()?;
    let (len, after) = match (len, after) {
        (0..=0x7f, _) => (usize::from(len), after),
        (0x81, [len, after @ ..]) => (usize::from(*len), after),
        (0x82, [high, low, after @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), after),
        _ => return None,
    };
    let (content, rest) = after.split_at_checked(len)?;
    *input = rest;
    is_wanted(tag).then_some(content)
}

#[cfg(test)]
mod tests;
