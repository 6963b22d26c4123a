//! IP addresses in texts, and the ranges that `cidr` names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses from a first one to a last one, of one family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    /// The range of `ADDRESS/BITS`; bits behind the prefix do not count.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let Some((address, bits)) = text.split_once('/') else {
            return Err(format!("{text:?} is no CIDR block: expected ADDRESS/BITS"));
        };
        let Some(address) = address_of(address) else {
            return Err(format!("{address:?} is no IP address"));
        };

        let most = if address.is_ipv4() { 31 } else { 127 };
        match bits.parse::<u32>() {
            Ok(bits) if bits <= most => Ok(Self::of_prefix(address, bits)),
            _ => Err(format!("the prefix of {text:?} is not within 0 to {most}")),
        }
    }

    /// All addresses with the first `bits` bits of `address`.
    fn of_prefix(address: IpAddr, bits: u32) -> Self {
        match address {
            IpAddr::V4(address) => {
                let rest = u32::MAX >> bits;
                let address = address.to_bits();

                Self {
                    first: Ipv4Addr::from(address & !rest).into(),
                    last: Ipv4Addr::from(address | rest).into(),
                }
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX >> bits;
                let address = address.to_bits();

                Self {
                    first: Ipv6Addr::from(address & !rest).into(),
                    last: Ipv6Addr::from(address | rest).into(),
                }
            }
        }
    }

    /// True if `address` is of the same family and within the range.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

/// The address that `text` is, in any spelling.
pub(crate) fn address_of(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return ipv6_of(text);
    }

    let mut parts = text.split('.');
    let mut octets = [0; 4];
    for octet in &mut octets {
        let part = parts.next()?;
        *octet = decimal(part)?;
    }

    match parts.next() {
        Some(_) => None,
        None => Some(octets.into()),
    }
}

/// A colon and a dot together are no address to Event Ruler.
fn ipv6_of(text: &str) -> Option<IpAddr> {
    if text.contains('.') {
        return None;
    }

    let address: Ipv6Addr = text.parse().ok()?;
    match address.to_ipv4_mapped() {
        Some(mapped) => Some(mapped.into()),
        None => Some(address.into()),
    }
}

/// A part of an IPv4 address; leading zeros are allowed, a sign is not.
fn decimal(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_equal() {
        assert_eq!(address_of("10.0.0.1"), address_of("010.00.0.1"));
        assert_eq!(address_of("::1"), address_of("0:0:0:0:0:0:0:1"));
        assert_eq!(address_of("::ffff:a00:1"), address_of("10.0.0.1"));
        for text in [
            "10.0.0",
            "10.0.0.256",
            "+1.2.3.4",
            "1.2.3.4.5",
            "::1.2.3.4",
            "",
        ] {
            assert_eq!(address_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_ends_with_its_prefix() {
        let range = Range::read("10.0.0.7/24").unwrap();
        assert!(range.contains(address_of("10.0.0.0").unwrap()));
        assert!(range.contains(address_of("10.0.0.255").unwrap()));
        assert!(!range.contains(address_of("10.0.1.0").unwrap()));
        assert!(!range.contains(address_of("::1").unwrap()));

        for text in ["10.0.0.0", "10.0.0.0/32", "::/128", "x/8", "10.0.0.0/-1"] {
            assert!(Range::read(text).is_err(), "{text}");
        }
    }
}
