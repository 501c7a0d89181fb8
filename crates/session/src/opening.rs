//! What `landfall open` opens: a component's own words about it, with the values that stand now.

use std::collections::HashMap;

use landfall_engine::{Evaluator, Expressions};
use landfall_model::StepId;
use landfall_model::definition::OpenSpec;
use landfall_model::provider::{Outputs, Standing};
use landfall_model::work::Known;
use landfall_runner::Look;

use crate::{Error, Session};

/// What can be opened of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Its definition says.
    Of(OpenSpec),
    /// Its definition opens nothing.
    Nothing,
    /// It cannot be opened before these steps have been done.
    NotYet(Vec<StepId>),
    /// What it would open has no value, for what is said.
    Invalid(String),
}

impl Session {
    /// What can be opened of a component, by what stands now.
    ///
    /// # Errors
    /// The world cannot be looked at.
    pub async fn opening(&self, component: &str) -> Result<Opening, Error> {
        let seen = self.look(Look::AtWhatStands).await?;
        let known: HashMap<StepId, Option<Outputs>> = self
            .wanted
            .steps
            .iter()
            .map(|step| {
                let stands = seen.steps.get(&step.id).map(|step| &step.observed);
                let outputs = stands
                    .filter(|observed| !matches!(observed.standing, Standing::Absent))
                    .map(|observed| observed.outputs.clone())
                    .or_else(|| seen.checked.get(&step.id).cloned());
                (step.id.clone(), outputs)
            })
            .collect();
        let expressions = Expressions::default();
        let evaluator = Evaluator::with(&self.wanted, &expressions, &known);
        Ok(match evaluator.open(component) {
            Err(error) => Opening::Invalid(error.reason),
            Ok(None) => Opening::Nothing,
            Ok(Some(Known::After(steps))) => Opening::NotYet(steps.into_iter().collect()),
            Ok(Some(Known::Value(open))) => Opening::Of(open),
        })
    }
}
