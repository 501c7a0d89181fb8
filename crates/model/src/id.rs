//! Identifiers. Each has its own type, so one cannot pass for another.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One step of one component: `component.step`, unique in a platform.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

impl StepId {
    /// Names `step` of `component`.
    pub fn new(component: &str, step: &str) -> StepId {
        StepId(format!("{component}.{step}").into())
    }

    /// Names something a plan does that no component asks for. Has no dot, so that no step of a component
    /// can be called the same.
    pub fn phase(name: &str) -> StepId {
        debug_assert!(!name.contains('.'), "the name of a phase has no dot");
        StepId(name.into())
    }

    /// The component's name, the part before the dot.
    pub fn component(&self) -> &str {
        self.0
            .split_once('.')
            .map_or(&*self.0, |(component, _)| component)
    }

    /// The step's name within its component.
    pub fn step(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, step)| step)
    }

    /// The whole id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepId({})", self.0)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id! {
    /// One plan. Ids come from the caller, so that tests choose them.
    PlanId
}
text_id! {
    /// One run of one plan; also the name of its folder among the journals.
    RunId
}
text_id! {
    /// The SHA-256 of some content, in lower-case hexadecimal.
    Digest
}

impl Digest {
    /// The digest of `content`.
    pub fn of(content: impl AsRef<[u8]>) -> Digest {
        use sha2::Digest as _;
        use std::fmt::Write as _;
        let hash = sha2::Sha256::digest(content.as_ref());
        Digest(hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// The first twelve characters: enough to tell two apart on a screen or in a name.
    pub fn short(&self) -> &str {
        &self.0[..12.min(self.0.len())]
    }
}
