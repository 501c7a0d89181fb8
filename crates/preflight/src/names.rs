//! Names: which are too long or have characters that AWS refuses, and which two things of one platform would
//! both have.

use landfall_model::finding::{Finding, Weight};

use crate::thing::{Thing, grouped};

/// A kind of thing with a name of its own.
pub(crate) struct Named {
    /// In CloudFormation's words.
    pub(crate) kind: &'static str,
    /// The property that names it; empty for what an account has one of without a name.
    property: &'static str,
    /// In people's words.
    pub(crate) word: &'static str,
    length: (usize, usize),
    /// Which characters it may have, and in words.
    characters: (fn(char) -> bool, &'static str),
    /// What else is wrong with a name of these characters.
    further: fn(&str) -> Option<&'static str>,
    scope: Scope,
}

/// Where a name must be free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// In the account, whatever the region.
    Account,
    /// In a region of the account.
    Region,
    /// Several may be called so.
    Nowhere,
}

const WORD: (fn(char) -> bool, &str) = (
    |c| c.is_ascii_alphanumeric() || "-_".contains(c),
    "letters, digits, hyphens and underscores",
);
const DOTTED: (fn(char) -> bool, &str) = (
    |c| c.is_ascii_alphanumeric() || "-_.".contains(c),
    "letters, digits, hyphens, underscores and dots",
);
const HYPHENATED: (fn(char) -> bool, &str) = (
    |c| c.is_ascii_alphanumeric() || c == '-',
    "letters, digits and hyphens",
);
const OF_IAM: (fn(char) -> bool, &str) = (
    |c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c),
    "letters, digits and _+=,.@-",
);
const ANY: (fn(char) -> bool, &str) = (|_| true, "");

fn fine(_: &str) -> Option<&'static str> {
    None
}

/// Kinds with rules (source: the `BucketName`, `RoleName`, … constraints in each service's API reference).
pub(crate) const NAMED: &[Named] = &[
    Named {
        kind: "AWS::S3::Bucket",
        property: "BucketName",
        word: "bucket",
        length: (3, 63),
        characters: (
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c),
            "small letters, digits, hyphens and dots",
        ),
        further: bucket,
        scope: Scope::Account,
    },
    Named {
        kind: "AWS::IAM::Role",
        property: "RoleName",
        word: "role",
        length: (1, 64),
        characters: OF_IAM,
        further: fine,
        scope: Scope::Account,
    },
    Named {
        kind: "AWS::IAM::ManagedPolicy",
        property: "ManagedPolicyName",
        word: "policy",
        length: (1, 128),
        characters: OF_IAM,
        further: fine,
        scope: Scope::Account,
    },
    Named {
        kind: "AWS::IAM::InstanceProfile",
        property: "InstanceProfileName",
        word: "instance profile",
        length: (1, 128),
        characters: OF_IAM,
        further: fine,
        scope: Scope::Account,
    },
    Named {
        kind: "AWS::IAM::OIDCProvider",
        property: "Url",
        word: "identity provider",
        length: (1, 255),
        characters: ANY,
        further: fine,
        scope: Scope::Account,
    },
    Named {
        kind: "AWS::Logs::LogGroup",
        property: "LogGroupName",
        word: "log group",
        length: (1, 512),
        characters: (
            |c| c.is_ascii_alphanumeric() || ".-_/#".contains(c),
            "letters, digits and .-_/#",
        ),
        further: |name| {
            name.starts_with("aws/")
                .then_some("it begins with `aws/`, which is AWS's own")
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::ECR::Repository",
        property: "RepositoryName",
        word: "image repository",
        length: (2, 256),
        characters: (
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./".contains(c),
            "small letters, digits, hyphens, underscores, dots and slashes",
        ),
        further: |name| {
            let mut parts = name.split(['/', '.', '_', '-']);
            parts
                .any(str::is_empty)
                .then_some("it begins or ends with a sign, or has two in a row")
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::SecretsManager::Secret",
        property: "Name",
        word: "secret",
        length: (1, 512),
        characters: (
            |c| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c),
            "letters, digits and /_+=.@-",
        ),
        further: fine,
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::EKS::Cluster",
        property: "Name",
        word: "cluster",
        length: (1, 100),
        characters: WORD,
        further: |name| {
            let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
            (!begins_well).then_some("it does not begin with a letter or a digit")
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::SQS::Queue",
        property: "QueueName",
        word: "queue",
        length: (1, 80),
        characters: DOTTED,
        further: |name| {
            let dotted = name.strip_suffix(".fifo").unwrap_or(name).contains('.');
            dotted.then_some("a dot is allowed in the ending `.fifo` only")
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::SNS::Topic",
        property: "TopicName",
        word: "topic",
        length: (1, 256),
        characters: DOTTED,
        further: |name| {
            let dotted = name.strip_suffix(".fifo").unwrap_or(name).contains('.');
            dotted.then_some("a dot is allowed in the ending `.fifo` only")
        },
        scope: Scope::Nowhere,
    },
    Named {
        kind: "AWS::DynamoDB::Table",
        property: "TableName",
        word: "table",
        length: (3, 255),
        characters: DOTTED,
        further: fine,
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::Lambda::Function",
        property: "FunctionName",
        word: "function",
        length: (1, 64),
        characters: WORD,
        further: fine,
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::KMS::Alias",
        property: "AliasName",
        word: "alias of a key",
        length: (7, 256),
        characters: (
            |c| c.is_ascii_alphanumeric() || "/_-".contains(c),
            "letters, digits, slashes, underscores and hyphens",
        ),
        further: |name| {
            if !name.starts_with("alias/") {
                Some("it does not begin with `alias/`")
            } else if name.starts_with("alias/aws/") {
                Some("it begins with `alias/aws/`, which is AWS's own")
            } else {
                None
            }
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::Cognito::UserPoolDomain",
        property: "Domain",
        word: "sign-in domain",
        length: (1, 63),
        characters: (
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c),
            "small letters, digits and hyphens",
        ),
        further: |name| {
            let reserved = ["aws", "amazon", "cognito"]
                .iter()
                .any(|word| name.contains(word));
            // A name with dots is a domain of one's own, under other rules.
            if name.contains('.') {
                None
            } else if reserved {
                Some("it has `aws`, `amazon` or `cognito` in it, which Cognito keeps for itself")
            } else {
                ends_in_hyphen(name)
            }
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::ElasticLoadBalancingV2::LoadBalancer",
        property: "Name",
        word: "load balancer",
        length: (1, 32),
        characters: HYPHENATED,
        further: |name| {
            let internal = name.starts_with("internal-");
            ends_in_hyphen(name)
                .or(internal.then_some("it begins with `internal-`, which AWS keeps for itself"))
        },
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::ElasticLoadBalancingV2::TargetGroup",
        property: "Name",
        word: "target group",
        length: (1, 32),
        characters: HYPHENATED,
        further: ends_in_hyphen,
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::RDS::DBInstance",
        property: "DBInstanceIdentifier",
        word: "database",
        length: (1, 63),
        characters: HYPHENATED,
        further: identifier,
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::RDS::DBCluster",
        property: "DBClusterIdentifier",
        word: "database cluster",
        length: (1, 63),
        characters: HYPHENATED,
        further: identifier,
        scope: Scope::Region,
    },
    Named {
        kind: "AWS::Route53::HostedZone",
        property: "Name",
        word: "hosted zone",
        length: (1, 255),
        characters: ANY,
        further: fine,
        scope: Scope::Nowhere,
    },
    Named {
        kind: "AWS::GuardDuty::Detector",
        property: "",
        word: "GuardDuty detector",
        length: (0, 0),
        characters: ANY,
        further: fine,
        scope: Scope::Region,
    },
];

impl Named {
    /// The entry of a kind.
    pub(crate) fn of(kind: &str) -> Option<&'static Named> {
        NAMED.iter().find(|named| named.kind == kind)
    }

    /// The name of a thing of this kind, when it is known.
    pub(crate) fn name<'a>(&self, thing: &'a Thing) -> Option<&'a str> {
        if self.property.is_empty() {
            return Some("");
        }
        let name = thing.text(self.property)?;
        Some(match self.kind {
            "AWS::Route53::HostedZone" => name.trim_end_matches('.'),
            "AWS::IAM::OIDCProvider" => name.trim_start_matches("https://").trim_end_matches('/'),
            _ => name,
        })
    }

    /// A thing of this kind, in words.
    pub(crate) fn said(&self, name: &str) -> String {
        if name.is_empty() {
            self.word.to_owned()
        } else {
            format!("{} {name}", self.word)
        }
    }
}

/// "a bucket", "an alias".
pub(crate) fn with_article(word: &str) -> String {
    let article = if word.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {word}")
}

fn ends_in_hyphen(name: &str) -> Option<&'static str> {
    (name.starts_with('-') || name.ends_with('-')).then_some("it begins or ends with a hyphen")
}

fn identifier(name: &str) -> Option<&'static str> {
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        Some("it does not begin with a letter")
    } else if name.ends_with('-') || name.contains("--") {
        Some("it ends with a hyphen, or has two in a row")
    } else {
        None
    }
}

fn bucket(name: &str) -> Option<&'static str> {
    let at_the_ends = |c: char| c.is_ascii_alphanumeric();
    if !name.starts_with(at_the_ends) || !name.ends_with(at_the_ends) {
        Some("it does not begin and end with a letter or a digit")
    } else if name.contains("..") {
        Some("it has two dots in a row")
    } else if name.parse::<std::net::Ipv4Addr>().is_ok() {
        Some("it looks like an address")
    } else if ["xn--", "sthree-", "amzn-s3-demo-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        Some("it begins with what S3 keeps for itself")
    } else if ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
    {
        Some("it ends with what S3 keeps for itself")
    } else {
        None
    }
}

/// Judges the names among the resources to come.
pub(crate) fn judge(things: &[Thing], found: &mut Vec<Finding>) {
    let named = || {
        things.iter().filter_map(|thing| {
            let named = Named::of(&thing.kind)?;
            Some((thing, named, named.name(thing)?))
        })
    };
    for (thing, named, name) in named().filter(|(thing, ..)| !thing.stands) {
        found.extend(refused(thing, named, name));
    }
    let places = named().filter_map(|(thing, named, name)| {
        let region = match named.scope {
            Scope::Account => "",
            Scope::Region => thing.region.as_str(),
            Scope::Nowhere => return None,
        };
        Some(((named.kind, name, region), (thing, named)))
    });
    for ((_, name, _), same) in grouped(places) {
        let Some((first, further)) = same.split_first() else {
            continue;
        };
        for (thing, named) in further {
            let what = format!(
                "the {} is made by `{}` in {} too",
                named.said(name),
                first.0.id,
                first.0.step
            );
            let way_out = if name.is_empty() {
                "an account has one of it in each region: make it once".to_owned()
            } else {
                "give each a name of its own".to_owned()
            };
            found.push(thing.finding_beside(first.0, Weight::Refuses, what, way_out));
        }
    }
}

fn refused(thing: &Thing, named: &Named, name: &str) -> Option<Finding> {
    let Named {
        word,
        length: (least, most),
        characters: (may, in_words),
        further,
        ..
    } = named;
    let length = name.chars().count();
    let wrong = if length > *most {
        format!("it is {length} characters long, and {most} is the most")
    } else if length < *least {
        format!("it is too short: {least} characters are the least")
    } else if let Some(bad) = name.chars().find(|c| !may(*c)) {
        format!("`{bad}` is in it, and it may have {in_words} only")
    } else {
        further(name)?.to_owned()
    };
    Some(thing.finding(
        Weight::Refuses,
        format!("`{name}` cannot be the name of {}: {wrong}", with_article(word)),
        "take another name, or leave it out where CloudFormation may choose one",
    ))
}
