//! Places of this crate: a folder of this machine, and memory for tests.

mod folder;
mod memory;

pub use folder::FolderPlace;
pub(crate) use folder::Proof;
pub use memory::{Answer, Call, MemoryPlace, Turn, Wrote};
