//! Things in the account that no stack's template names: what controllers, services and machines make for
//! themselves.

use std::collections::BTreeMap;

use crate::durations;
use crate::fault::Fault;
use crate::queue::Due;
use crate::random::Random;
use crate::world::State;

/// A thing, in this world.
pub(crate) type ThingId = u64;

pub(crate) const LOAD_BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
pub(crate) const TARGET_GROUP: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
pub(crate) const SECURITY_GROUP: &str = "AWS::EC2::SecurityGroup";
pub(crate) const INTERFACE: &str = "AWS::EC2::NetworkInterface";
pub(crate) const VOLUME: &str = "AWS::EC2::Volume";
pub(crate) const INSTANCE: &str = "AWS::EC2::Instance";
pub(crate) const LOG_GROUP: &str = "AWS::Logs::LogGroup";
pub(crate) const ENDPOINT: &str = "AWS::EC2::VPCEndpoint";

/// One thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thing {
    /// Its type, in CloudFormation's words.
    pub(crate) kind: &'static str,
    /// Its ARN, or its id where it has none.
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) network: Option<String>,
    pub(crate) subnet: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Who made it.
    pub(crate) maker: &'static str,
    /// What it is for: two things for one purpose are one too many.
    pub(crate) purpose: String,
    /// The stack that takes it along, by id.
    pub(crate) stack: Option<String>,
    /// The cluster it was made for: its name, and which of that name it is.
    pub(crate) cluster: Option<(String, u64)>,
    /// What it is attached to.
    pub(crate) of: Option<ThingId>,
    /// Whether only the service that made it can remove it.
    pub(crate) managed: bool,
    /// Security groups: of an interface its own, of a group those its rules mention.
    pub(crate) groups: Vec<ThingId>,
    /// Gibibytes of data.
    pub(crate) holds_gib: Option<u64>,
    /// When it is ready.
    pub(crate) ready_at: u64,
    /// When it goes by itself, once that is settled.
    pub(crate) gone_at: Option<u64>,
}

impl Thing {
    /// Its id without what an ARN has in front.
    pub(crate) fn short(&self) -> &str {
        self.id.rsplit_once(':').map_or(&self.id, |(_, id)| id)
    }

    pub(crate) fn is_going(&self) -> bool {
        self.gone_at.is_some()
    }

    pub(crate) fn belongs_to(&self, cluster: u64) -> bool {
        self.cluster.as_ref().is_some_and(|(_, uid)| *uid == cluster)
    }
}

impl State {
    /// Chance for something that is named by `parts`.
    pub(crate) fn chance(&self, parts: &[&str]) -> Random {
        Random::of(self.seed, parts)
    }

    /// Makes a thing, and its id.
    pub(crate) fn make(&mut self, mut thing: Thing) -> ThingId {
        self.thing_count += 1;
        let id = self.thing_count;
        let mut random = self.chance(&["thing", thing.kind, &thing.purpose, &id.to_string()]);
        let (region, account) = (thing.region.clone(), self.account.clone());
        let digits = random.hex(17);
        let arn = |what: &str, rest: &str| {
            format!(
                "arn:aws:elasticloadbalancing:{region}:{account}:{what}/{rest}/{}",
                &digits[..16]
            )
        };
        thing.id = match thing.kind {
            LOAD_BALANCER => arn("loadbalancer", &thing.id),
            TARGET_GROUP => arn("targetgroup", &thing.id),
            SECURITY_GROUP => format!("sg-{digits}"),
            INTERFACE => format!("eni-{digits}"),
            VOLUME => format!("vol-{digits}"),
            INSTANCE => format!("i-{digits}"),
            ENDPOINT => format!("vpce-{digits}"),
            LOG_GROUP => format!("arn:aws:logs:{region}:{account}:log-group:{}", thing.id),
            _ => thing.id,
        };
        if let (Some(network), None) = (&thing.network, &thing.subnet) {
            let network = self.networks.iter().find(|one| one.id == *network);
            thing.subnet = network.and_then(|network| {
                let count = network.subnets.len() as u64;
                (count > 0).then(|| network.subnets[(id % count) as usize].clone())
            });
        }
        self.things.insert(id, thing);
        id
    }

    /// Makes an interface of something.
    pub(crate) fn make_interface(&mut self, of: ThingId, groups: Vec<ThingId>, managed: bool) -> ThingId {
        let owner = &self.things[&of];
        let mut interface = Thing {
            kind: INTERFACE,
            id: String::new(),
            purpose: String::new(),
            of: Some(of),
            managed,
            groups,
            holds_gib: None,
            ..owner.clone()
        };
        if managed {
            interface.tags.clear();
            interface.subnet = None;
        }
        self.make(interface)
    }

    /// Takes a thing away. What was attached to it lingers for a while.
    pub(crate) fn take_away(&mut self, id: ThingId, now: u64) {
        let Some(thing) = self.things.remove(&id) else {
            return;
        };
        let attached: Vec<ThingId> = self
            .things
            .iter()
            .filter(|(_, other)| other.of == Some(id))
            .map(|(id, _)| *id)
            .collect();
        let linger = self.linger_ms(&thing);
        for id in attached {
            self.linger(id, now + linger);
        }
    }

    /// Lets a thing go by itself at some moment; or detaches it, when it does not go by itself.
    pub(crate) fn linger(&mut self, id: ThingId, until: u64) {
        let Some(thing) = self.things.get_mut(&id) else {
            return;
        };
        if matches!(thing.kind, VOLUME | TARGET_GROUP) {
            thing.of = None;
            return;
        }
        thing.stack = None;
        thing.gone_at.get_or_insert(until);
        self.schedule(until, Due::Thing(id));
    }

    /// How long interfaces outlive what they belong to.
    fn linger_ms(&mut self, owner: &Thing) -> u64 {
        let asked = self.take_fault(|fault| match fault {
            Fault::InterfacesLinger { millis } if owner.kind == LOAD_BALANCER => Some(*millis),
            _ => None,
        });
        let mut random = self.chance(&["linger", &owner.id]);
        asked.unwrap_or_else(|| match owner.kind {
            // One to ten minutes, more often short than long.
            LOAD_BALANCER => {
                let longest = durations::typical_ms("interfaces of a load balancer", true).unwrap_or(180_000);
                let most = [longest, longest, longest, 600_000][random.between(0, 3) as usize];
                random.between(60_000, most)
            }
            INSTANCE => random.between(60_000, 120_000),
            _ => random.between(20_000, 60_000),
        })
    }

    pub(crate) fn thing_is_due(&mut self, id: ThingId, now: u64) {
        if self
            .things
            .get(&id)
            .is_some_and(|thing| thing.gone_at.is_some_and(|at| at <= now))
        {
            self.take_away(id, now);
        }
    }

    /// What keeps a thing from being removed now, in AWS's words.
    pub(crate) fn holds_back(&self, id: ThingId) -> Option<String> {
        let thing = self.things.get(&id)?;
        let others = || self.things.iter().filter(move |(other, _)| **other != id);
        match thing.kind {
            SECURITY_GROUP => others().any(|(_, other)| other.groups.contains(&id)).then(|| {
                format!(
                    "resource {} has a dependent object (DependencyViolation)",
                    thing.id
                )
            }),
            TARGET_GROUP => others()
                .any(|(other, load_balancer)| thing.of == Some(*other) && load_balancer.kind == LOAD_BALANCER)
                .then(|| {
                    format!(
                        "Target group '{}' is currently in use by a listener or a rule (ResourceInUse)",
                        thing.id
                    )
                }),
            VOLUME if thing.of.is_some() => Some(format!(
                "Volume {} is currently attached to an instance (VolumeInUse)",
                thing.id
            )),
            INTERFACE if thing.managed || thing.of.is_some_and(|of| self.things.contains_key(&of)) => {
                Some(format!(
                    "Network interface '{}' is currently in use (InvalidParameterValue)",
                    thing.id
                ))
            }
            _ => None,
        }
    }
}
