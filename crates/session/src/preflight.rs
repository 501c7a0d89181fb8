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
        let upcoming = landfall_engine::upcoming(plan);
        let today = self.clock.now();
        let today = today.get(..10).unwrap_or_default();
        let mut found = plan.wanted.warnings.clone();
        found.extend(landfall_preflight::findings(&upcoming, today));
        if let Some(preflight) = self.providers.preflight() {
            let inquiries = landfall_preflight::inquiries(&upcoming, self.permissions(&upcoming));
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

    /// What carrying these steps out takes; nothing when there are none.
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
    }
}
