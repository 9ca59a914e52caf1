//! Which addresses user code may reach. A pure function over the registries of special-purpose
//! addresses (RFC 6890 and its successors), plus what clouds hide on ordinary ones.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an address is, as far as egress is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An ordinary address of the internet.
    Global,
    /// Inside: loopback, private, link-local, shared. Open only to a rule that says `private`.
    Private(&'static str),
    /// A cloud's metadata service. Open only to a `private` rule that names the very address.
    Metadata(&'static str),
    /// Never a destination: multicast, reserved, or IPv4 hidden in IPv6.
    Never(&'static str),
}

/// Metadata services that are not covered by their range.
const METADATA_V4: &[(Ipv4Addr, &str)] = &[
    (Ipv4Addr::new(169, 254, 169, 254), "cloud metadata"),
    (Ipv4Addr::new(169, 254, 170, 2), "container credentials"),
    (Ipv4Addr::new(168, 63, 129, 16), "Azure platform"),
    (Ipv4Addr::new(100, 100, 100, 200), "Alibaba metadata"),
    (Ipv4Addr::new(192, 0, 0, 192), "Oracle metadata"),
];

const METADATA_V6: &[(Ipv6Addr, &str)] = &[
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), "AWS metadata"),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), "AWS pod identity"),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), "GCE metadata"),
];

type Row4 = (Ipv4Addr, u8, Class);
type Row6 = (Ipv6Addr, u8, Class);

const TABLE_V4: &[Row4] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Class::Never("unspecified (this network)")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Class::Private("private")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Class::Private("carrier-grade NAT")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Class::Private("loopback")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Class::Private("link-local")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Class::Private("private")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Class::Never("protocol assignments")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Class::Never("documentation")),
    (Ipv4Addr::new(192, 31, 196, 0), 24, Class::Never("AS112")),
    (Ipv4Addr::new(192, 52, 193, 0), 24, Class::Never("AMT")),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Class::Never("6to4 relay")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Class::Private("private")),
    (Ipv4Addr::new(192, 175, 48, 0), 24, Class::Never("AS112")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Class::Never("benchmarking")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Class::Never("documentation")),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Class::Never("documentation")),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Class::Never("multicast")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Class::Never("reserved or broadcast")),
];

const TABLE_V6: &[Row6] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Class::Never("unspecified")),
    (Ipv6Addr::LOCALHOST, 128, Class::Private("loopback")),
    (Ipv6Addr::UNSPECIFIED, 96, Class::Never("IPv4-compatible")),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, Class::Never("IPv4-translated")),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, Class::Never("NAT64")),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Class::Never("NAT64")),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Class::Never("discard")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Class::Never("Teredo")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Class::Never("protocol assignments")),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Class::Never("documentation")),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Class::Never("6to4")),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, Class::Never("AS112")),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Class::Never("documentation")),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Class::Private("unique local")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Class::Private("link-local")),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Class::Private("site-local")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Class::Never("multicast")),
    // Everything that is not global unicast (2000::/3) is unassigned.
];

const GLOBAL_UNICAST_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What this address is. IPv4 that is mapped into IPv6 is judged as the IPv4 address that the
/// kernel would connect to.
#[must_use]
pub fn classify(address: IpAddr) -> Class {
    match address.to_canonical() {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    if let Some((_, name)) = METADATA_V4.iter().find(|(metadata, _)| *metadata == address) {
        return Class::Metadata(name);
    }
    TABLE_V4
        .iter()
        .find(|(base, bits, _)| same_prefix_v4(address, *base, *bits))
        .map_or(Class::Global, |(_, _, class)| *class)
}

fn classify_v6(address: Ipv6Addr) -> Class {
    if let Some((_, name)) = METADATA_V6.iter().find(|(metadata, _)| *metadata == address) {
        return Class::Metadata(name);
    }
    let listed = TABLE_V6.iter().find(|(base, bits, _)| same_prefix_v6(address, *base, *bits));
    match listed {
        Some((_, _, class)) => *class,
        None if same_prefix_v6(address, GLOBAL_UNICAST_V6.0, GLOBAL_UNICAST_V6.1) => Class::Global,
        None => Class::Never("not global unicast"),
    }
}

fn same_prefix_v4(a: Ipv4Addr, b: Ipv4Addr, bits: u8) -> bool {
    let differs = u32::from(a) ^ u32::from(b);
    differs.leading_zeros() >= u32::from(bits)
}

fn same_prefix_v6(a: Ipv6Addr, b: Ipv6Addr, bits: u8) -> bool {
    let differs = u128::from(a) ^ u128::from(b);
    differs.leading_zeros() >= u32::from(bits)
}

/// A range of addresses, written `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// Text that is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network: write an address, or an address with a prefix like 10.0.0.0/8")]
pub struct NetworkError(String);

impl Network {
    /// Whether the address is in the range; IPv4 mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(v4)) => same_prefix_v4(v4, base, self.bits),
            (IpAddr::V6(base), IpAddr::V6(v6)) => same_prefix_v6(v6, base, self.bits),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.into());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
            None => most,
        };
        Ok(Self { base, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Kind {
        Global,
        Private,
        Metadata,
        Never,
    }

    fn kind(text: &str) -> Kind {
        match classify(text.parse().unwrap()) {
            Class::Global => Kind::Global,
            Class::Private(_) => Kind::Private,
            Class::Metadata(_) => Kind::Metadata,
            Class::Never(_) => Kind::Never,
        }
    }

    #[test]
    fn ordinary_addresses_are_global() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.114.0",
            "223.255.255.255",
            "168.63.129.15",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2a00::1",
            "::ffff:1.1.1.1",
            "2003::1",
        ] {
            assert_eq!(kind(text), Kind::Global, "{text}");
        }
    }

    #[test]
    fn inside_addresses_are_private() {
        for text in [
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "::1",
            "fc00::1",
            "fdff::1",
            "fd00:ec2::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:7f00:1",
        ] {
            assert_eq!(kind(text), Kind::Private, "{text}");
        }
    }

    #[test]
    fn metadata_services_stand_apart() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:a83f:8110",
        ] {
            assert_eq!(kind(text), Kind::Metadata, "{text}");
        }
    }

    #[test]
    fn the_rest_is_never_a_destination() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::127.0.0.1",
            "::10.0.0.1",
            "::8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:808:808::",
            "2001:0:53aa:64c::1",
            "2001:db8::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "100::1",
            "3fff::1",
            "ff02::1",
            "ff05::1:3",
            "4000::1",
            "::2",
            "5f00::1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
        ] {
            assert_eq!(kind(text), Kind::Never, "{text}");
        }
    }

    #[test]
    fn networks_are_read_and_matched() {
        let network: Network = "192.168.0.0/16".parse().unwrap();
        assert!(network.contains("192.168.3.4".parse().unwrap()));
        assert!(network.contains("::ffff:192.168.3.4".parse().unwrap()));
        assert!(!network.contains("192.169.0.0".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
        let one: Network = "2001:db8::1".parse().unwrap();
        assert!(one.contains("2001:db8::1".parse().unwrap()));
        assert!(!one.contains("2001:db8::2".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "example.com", "1.1.1.1/x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&network).unwrap(), "\"192.168.0.0/16\"");
    }
}
