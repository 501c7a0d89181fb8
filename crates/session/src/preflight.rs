//! Everything that would go wrong, found before the first change: what the templates show, and what the world
//! answers.

use std::collections::BTreeSet;

use landfall_model::finding::{Finding, in_order};
use landfall_model::plan::Plan;
use landfall_model::question::{Permission, Question, Upcoming};
use landfall_model::work::Step;
use landfall_policy::Wants;
use landfall_runner::{Unanswered, ask};

use crate::Session;

impl Session {
    /// What would go wrong when this plan were carried out now. Never an error: what could not be asked is a
    /// finding too.
    pub async fn preflight(&self, plan: &Plan) -> Vec<Finding> {
        self.look_ahead(plan, &landfall_engine::upcoming(plan)).await
    }

    /// The same, for steps that are filled in already.
    pub(crate) async fn look_ahead(&self, plan: &Plan, upcoming: &[Upcoming]) -> Vec<Finding> {
        let today = self.clock.now();
        let today = today.get(..10).unwrap_or_default();
        let mut found = plan.wanted.warnings.clone();
        found.extend(landfall_preflight::findings(upcoming, today));
        if let Some(preflight) = self.providers.preflight() {
            let inquiries = landfall_preflight::inquiries(upcoming, self.permissions(upcoming));
            let questions: Vec<Question> = inquiries.iter().map(|inquiry| inquiry.question.clone()).collect();
            let answers = ask(preflight.as_ref(), self.clock.as_ref(), &questions).await;
            for (inquiry, answer) in inquiries.iter().zip(answers) {
                match answer {
                    Ok(answer) => found.extend(inquiry.judge(&answer)),
                    Err(Unanswered { why, way_out }) => {
                        found.push(inquiry.unanswered(&why, way_out.as_deref()));
                    }
                }
            }
        }
        in_order(found)
    }

    /// What carrying these steps out takes; nothing when there are none. What only asking beforehand takes is not
    /// asked for: without it an answer is missing, and nothing fails.
    fn permissions(&self, upcoming: &[Upcoming]) -> BTreeSet<Permission> {
        let steps: Vec<Step> = upcoming.iter().map(|one| one.step.clone()).collect();
        if steps.is_empty() {
            return BTreeSet::new();
        }
        landfall_policy::needs(&Wants {
            platform: &self.wanted.facts,
            steps: &steps,
            records: self.wanted.records_bucket.as_deref(),
            destroy: false,
        })
        .permissions()
        .into_iter()
        .filter(|permission| !only_asks(permission))
        .collect()
    }
}

/// Whether a permission is for these questions alone.
fn only_asks(Permission { action, resource }: &Permission) -> bool {
    action == "iam:SimulatePrincipalPolicy"
        || action.starts_with("servicequotas:")
        || (action == "iam:GetRole" && resource == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_asked_is_never_needed() {
        let asks = |action: &str, resource: &str| {
            only_asks(&Permission {
                action: action.to_owned(),
                resource: resource.to_owned(),
            })
        };
        assert!(asks("servicequotas:GetServiceQuota", "*"));
        assert!(asks("iam:SimulatePrincipalPolicy", "*"));
        assert!(asks("iam:GetRole", "*"));
        assert!(!asks("iam:GetRole", "arn:aws:iam::111122223333:role/acme"));
        assert!(!asks("iam:CreateRole", "*"));
    }
}
