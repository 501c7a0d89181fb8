//! Plans carried out in a simulated cloud, told as sessions: the executor, the engine and the world
//! together, in virtual time.

mod chance;
mod crashes;
mod runs;
mod stacks;
mod stage;
