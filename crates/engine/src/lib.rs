//! Decides: reads and checks what people wrote, wires it, plans it, and says what a run may do next.
//!
//! Takes values and returns values. There is no clock here, no network, no file, no `async`, and no
//! knowledge of any cloud: the room that knows templates lends its reader through [`Library`].

pub mod certificate;
pub mod draw;
pub mod evaluate;
mod expression;
pub mod planner;
pub mod read;
pub mod render;
pub mod run;
pub mod schedule;
mod shape;
mod suggest;
pub mod teardown;
mod types;
mod upcoming;

pub use evaluate::{Evaluator, Expressions};
pub use planner::{Seen, SeenStep, plan_apply};
pub use read::{DefinitionFolder, Library, ObjectProblem, read};
pub use run::Run;
pub use teardown::plan_destroy;
pub use upcoming::upcoming;
