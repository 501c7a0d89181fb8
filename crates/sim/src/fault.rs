//! What can be made to go wrong.

/// Something that goes wrong in the world, once.
///
/// A fault waits until it applies, happens, and is used up, as a mishap would be; to have it twice, add
/// it twice. [`World::faults`](crate::World::faults) tells which have not happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next time `resource` is made or changed in `stack`, that fails and the stack rolls back, to
    /// `ROLLBACK_COMPLETE` or `UPDATE_ROLLBACK_COMPLETE`.
    StackFails {
        /// The stack's name.
        stack: String,
        /// The resource's logical id.
        resource: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// When `stack` rolls back the next time, that fails too: it ends as `ROLLBACK_FAILED` or
    /// `UPDATE_ROLLBACK_FAILED`. Does nothing without a [`Fault::StackFails`].
    RollbackFails {
        /// The stack's name.
        stack: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// The next time `resource` is to be removed with `stack`, that fails, and the stack ends as
    /// `DELETE_FAILED`. Deleting it again succeeds.
    DeleteFails {
        /// The stack's name.
        stack: String,
        /// The resource's logical id.
        resource: String,
        /// What CloudFormation says.
        reason: String,
    },
    /// The call that starts making `stack` is never answered, although the stack is made.
    CreateTimesOutButSucceeds {
        /// The stack's name.
        stack: String,
    },
    /// The next calls are refused because there were too many.
    Throttling {
        /// How many are refused.
        calls: u32,
    },
    /// From this moment on calls are refused, until
    /// [`World::renew_credentials`](crate::World::renew_credentials).
    CredentialsExpireAt {
        /// When, in milliseconds of the world's clock.
        millis: u64,
    },
}
