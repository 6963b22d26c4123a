//! The endpoint of a region's Kinesis.
//!
//! Source: [Kinesis endpoints](https://docs.aws.amazon.com/general/latest/gr/ak.html) and
//! [partitions](https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html).

/// The server names of a partition (a separate AWS).
struct Partition {
    /// Prefixes of the names of its regions.
    regions: &'static [&'static str],
    suffix: &'static str,
    /// The suffix of names that answer over IPv4 and IPv6.
    dual_stack: &'static str,
}

const PARTITIONS: &[Partition] = &[
    Partition {
        regions: &["cn-"],
        suffix: "amazonaws.com.cn",
        dual_stack: "api.amazonwebservices.com.cn",
    },
    Partition {
        regions: &["us-isob-"],
        suffix: "sc2s.sgov.gov",
        dual_stack: "api.aws.scloud",
    },
    Partition {
        regions: &["us-isof-", "eu-isof-"],
        suffix: "csp.hci.ic.gov",
        dual_stack: "api.aws.hci.ic.gov",
    },
    Partition {
        regions: &["us-iso-"],
        suffix: "c2s.ic.gov",
        dual_stack: "api.aws.ic.gov",
    },
    Partition {
        regions: &["eu-isoe-"],
        suffix: "cloud.adc-e.uk",
        dual_stack: "api.cloud-aws.adc-e.uk",
    },
    Partition {
        regions: &["eusc-"],
        suffix: "amazonaws.eu",
        dual_stack: "api.amazonwebservices.eu",
    },
];

/// The commercial partition and the US government's, and every region that is not listed.
const AWS: Partition = Partition {
    regions: &[],
    suffix: "amazonaws.com",
    dual_stack: "api.aws",
};

/// The URL of a region's Kinesis: FIPS-validated or dual-stack if asked for.
pub fn of_region(region: &str, fips: bool, dual_stack: bool) -> String {
    let of = |partition: &&Partition| {
        let mut prefixes = partition.regions.iter();
        prefixes.any(|prefix| region.starts_with(prefix))
    };
    let partition = PARTITIONS.iter().find(of);
    let partition = partition.unwrap_or(&AWS);

    // The US government's ordinary endpoints are the FIPS ones.
    let fips = fips && (dual_stack || !region.starts_with("us-gov-"));
    let service = if fips { "kinesis-fips" } else { "kinesis" };
    let suffix = if dual_stack {
        partition.dual_stack
    } else {
        partition.suffix
    };
    format!("https://{service}.{region}.{suffix}")
}

#[cfg(test)]
mod tests {
    use super::of_region;

    #[test]
    fn endpoints_of_every_partition() {
        for (region, fips, dual, url) in [
            (
                "eu-central-1",
                false,
                false,
                "https://kinesis.eu-central-1.amazonaws.com",
            ),
            (
                "us-east-1",
                true,
                false,
                "https://kinesis-fips.us-east-1.amazonaws.com",
            ),
            (
                "us-east-1",
                false,
                true,
                "https://kinesis.us-east-1.api.aws",
            ),
            (
                "us-east-1",
                true,
                true,
                "https://kinesis-fips.us-east-1.api.aws",
            ),
            (
                "cn-north-1",
                false,
                false,
                "https://kinesis.cn-north-1.amazonaws.com.cn",
            ),
            (
                "cn-north-1",
                false,
                true,
                "https://kinesis.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                "us-gov-west-1",
                true,
                false,
                "https://kinesis.us-gov-west-1.amazonaws.com",
            ),
            (
                "us-gov-west-1",
                true,
                true,
                "https://kinesis-fips.us-gov-west-1.api.aws",
            ),
            (
                "us-iso-east-1",
                false,
                false,
                "https://kinesis.us-iso-east-1.c2s.ic.gov",
            ),
            (
                "us-isob-east-1",
                false,
                false,
                "https://kinesis.us-isob-east-1.sc2s.sgov.gov",
            ),
            (
                "eusc-de-east-1",
                false,
                false,
                "https://kinesis.eusc-de-east-1.amazonaws.eu",
            ),
        ] {
            assert_eq!(of_region(region, fips, dual), url);
        }
    }
}
