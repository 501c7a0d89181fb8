//! Looking at what stands, without changing anything.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use landfall_model::provider::{Change, Observed, Owned, Standing as Stands};
use landfall_model::work::{ObjectsWork, Step};
use landfall_runner::ObserveError;
use serde_json::Value;

use crate::Objects;
use crate::applyset::{self, Set, controls_of, foreign, kinds_of};
use crate::desired;
use crate::discovery::Discovery;
use crate::key::Key;
use crate::link::{Dialled, LOOKING_MS, Link};
use crate::looks::Backoff;
use crate::preview;
use crate::remove::Address;
use crate::stand::{Standing, fingerprint, outputs};
use crate::trouble::Trouble;

/// How many objects are asked for at once.
const AT_ONCE: usize = 8;

impl Objects {
    pub(crate) async fn observe_all(
        &self,
        step: &Step,
        work: &ObjectsWork,
    ) -> Result<Observed, ObserveError> {
        let doing = format!("could not look at the objects of {}", step.id);
        let seen = self.seen(step, work).await;
        match seen {
            Err(Trouble::Gone(_)) => Ok(Observed::absent()),
            seen => seen.map_err(|trouble| trouble.observing(&doing)),
        }
    }

    async fn seen(&self, step: &Step, work: &ObjectsWork) -> Result<Observed, Trouble> {
        let set = Set::of(step);
        let Some(link) = self.cluster_of(&set, step, work).await? else {
            return Ok(Observed::absent());
        };
        let discovery = link.recent_discovery().await?;
        let keys = desired::keys(work, &discovery);
        let kinds = keys.iter().map(Key::group_kind);
        let members = set.members(&link, &discovery, kinds).await?;
        if let Some(why) = others(&link, &discovery, &set, &keys, &members.objects).await? {
            return Ok(Observed {
                standing: Stands::Foreign { why },
                fingerprint: "FOREIGN".to_owned(),
                ..Observed::absent()
            });
        }
        // A step without objects stands when its set does.
        let stands = !members.objects.is_empty() || keys.is_empty() && members.parent.is_some();
        if !stands {
            return Ok(Observed::absent());
        }
        let ending = |(key, object): &(&Key, &Value)| {
            key.kind == "Namespace" && !object["metadata"]["deletionTimestamp"].is_null()
        };
        let standing = match members.objects.iter().find(ending) {
            Some((key, _)) => Stands::Busy {
                state: format!("the namespace {} is Terminating", key.name),
            },
            None => Stands::Present {
                state: "APPLIED".to_owned(),
            },
        };
        let whose = Standing {
            set: &set,
            cluster: &link.name,
            region: &link.region,
            controls: members.parent.as_ref().map(controls_of).unwrap_or_default(),
        };
        Ok(Observed {
            standing,
            outputs: outputs(&discovery, work, &members.objects),
            fingerprint: fingerprint(&members.objects),
            owned: Some(whose.owned(&members.objects)),
        })
    }

    /// The cluster a step's objects are in. A name that waits for other steps is not needed to find what was made
    /// before.
    async fn cluster_of(
        &self,
        set: &Set,
        step: &Step,
        work: &ObjectsWork,
    ) -> Result<Option<Box<Link>>, Trouble> {
        let region = step.facts.region.as_str();
        if let Some(name) = work.cluster.value() {
            return Ok(connected(self.dial(region, name, None).await?));
        }
        for (in_region, name) in self.clusters_of(&set.platform).await? {
            if in_region != region {
                continue;
            }
            if let Some(link) = connected(self.dial(region, &name, None).await?)
                && let Some(parent) = link.get(&set.parent_path()).await?
                && Set::of_parent(&parent).as_ref() == Some(set)
            {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    /// The clusters of a platform, asked again while only waiting is needed.
    async fn clusters_of(&self, platform: &str) -> Result<Vec<(String, String)>, Trouble> {
        let began = self.clock.millis();
        let mut backoff = Backoff::of(platform);
        loop {
            let trouble = match self.clusters.of_platform(platform).await {
                Ok(found) => return Ok(found),
                Err(why) => Trouble::from(why),
            };
            if !trouble.passes_by_itself() || self.clock.millis().saturating_sub(began) > LOOKING_MS {
                return Err(trouble);
            }
            self.clock.sleep(backoff.next(None)).await;
        }
    }

    pub(crate) async fn preview_all(
        &self,
        step: &Step,
        work: &ObjectsWork,
    ) -> Result<Vec<Change>, ObserveError> {
        let doing = "could not ask what would change of the objects";
        let name = work.cluster.value().map(String::as_str).unwrap_or_default();
        let dialled = self.dial(&step.facts.region, name, None).await;
        let Some(link) = connected(dialled.map_err(|trouble| trouble.observing(doing))?) else {
            return Ok(Vec::new());
        };
        match preview::changes(&link, step, work).await {
            Err(Trouble::Gone(_)) => Ok(Vec::new()),
            changes => changes.map_err(|trouble| trouble.observing(doing)),
        }
    }

    pub(crate) async fn owned_by(&self, platform: &str) -> Result<Vec<Owned>, ObserveError> {
        let doing = "could not list the objects in the account's clusters";
        let clusters = self.clusters_of(platform).await;
        let clusters = clusters.map_err(|trouble| trouble.observing(doing))?;
        let mut found = Vec::new();
        for (region, name) in clusters {
            match self.owned_in(platform, &region, &name).await {
                Err(Trouble::Gone(_)) => {}
                owned => found.extend(owned.map_err(|trouble| {
                    trouble.observing(&format!("could not list the objects in the cluster `{name}`"))
                })?),
            }
        }
        Ok(found)
    }

    async fn owned_in(&self, platform: &str, region: &str, name: &str) -> Result<Vec<Owned>, Trouble> {
        let Some(link) = connected(self.dial(region, name, None).await?) else {
            return Ok(Vec::new());
        };
        let discovery = link.recent_discovery().await?;
        let parents = applyset::parents(&link, &discovery, platform).await?;
        // One list for each kind, whatever the number of steps.
        let kinds: std::collections::BTreeSet<_> = parents.iter().flat_map(kinds_of).collect();
        let selector = format!("{}={platform},{}", applyset::LABELS[0].0, applyset::PART_OF);
        let objects = applyset::list_all(&link, &discovery, kinds, &selector).await?;
        let mut found = Vec::new();
        for parent in &parents {
            let Some(set) = Set::of_parent(parent) else {
                continue;
            };
            let (id, listed) = (set.id(), kinds_of(parent));
            let members: BTreeMap<Key, Value> = objects
                .iter()
                .filter(|object| object["metadata"]["labels"][applyset::PART_OF] == id.as_str())
                .filter(|object| !applyset::is_copy(object))
                .map(|object| (Key::of(object), object.clone()))
                .filter(|(key, _)| listed.contains(&key.group_kind()))
                .collect();
            let whose = Standing {
                set: &set,
                cluster: &link.name,
                region: &link.region,
                controls: controls_of(parent),
            };
            found.push(whose.owned(&members));
        }
        Ok(found)
    }

    pub(crate) async fn still_stands(&self, owned: &Owned) -> Result<bool, ObserveError> {
        let address = Address::of(owned);
        let stands = async {
            let Some(link) = connected(self.dial(address.region, address.cluster, None).await?) else {
                return Ok(false);
            };
            let discovery = link.recent_discovery().await?;
            let members = address
                .set(owned)
                .members(&link, &discovery, address.kinds())
                .await?;
            Ok(members.parent.is_some() || !members.objects.is_empty())
        };
        match stands.await {
            Err(Trouble::Gone(_)) => Ok(false),
            stands => stands.map_err(|trouble| {
                let doing = format!(
                    "could not look at the objects in the cluster `{}`",
                    address.cluster
                );
                trouble.observing(&doing)
            }),
        }
    }
}

/// A cluster that answers. One that does not answer yet has nothing in it.
fn connected(dialled: Dialled) -> Option<Box<Link>> {
    match dialled {
        Dialled::Connected(link) => Some(link),
        Dialled::Absent | Dialled::Starting(_) => None,
    }
}

/// Why something of these names is not ours, when it stands and is not.
async fn others(
    link: &Link,
    discovery: &Discovery,
    set: &Set,
    keys: &[Key],
    members: &BTreeMap<Key, Value>,
) -> Result<Option<String>, Trouble> {
    let asked = keys
        .iter()
        .filter(|key| !members.contains_key(key))
        .filter_map(|key| {
            let path = discovery.preferred(&key.group_kind())?.path_of(key);
            Some(async move { Ok::<_, Trouble>((key, link.get(&path).await?)) })
        });
    let asked: Vec<_> = asked.collect();
    let mut answers = stream::iter(asked).buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        let (key, object) = answer?;
        if let Some(why) = object.and_then(|object| foreign(key, &object, set)) {
            return Ok(Some(why));
        }
    }
    Ok(None)
}
