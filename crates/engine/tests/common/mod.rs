//! What the tests of plans share.

use landfall_model::wanted::{Facts, Wanted, WantedStep};

/// A platform that asks for these steps.
pub(crate) fn wanted(steps: Vec<WantedStep>) -> Wanted {
    Wanted {
        facts: Facts {
            name: "acme".to_owned(),
            region: "us-east-1".to_owned(),
            account: "111122223333".to_owned(),
            tags: [].into(),
        },
        artifact_bucket: None,
        records_bucket: None,
        components: indexmap::IndexMap::new(),
        steps,
        contents: [].into(),
        warnings: Vec::new(),
    }
}
