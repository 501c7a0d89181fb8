//! The certificate of the last teardown, kept beside the records.

use landfall_model::certificate::Certificate;

use crate::error::Error;
use crate::fence::Lock;
use crate::files::{self, pretty};

/// Under what name it is kept.
pub const CERTIFICATE: &str = "certificate.json";

impl Lock {
    /// Keeps the certificate of a teardown, in place of an earlier one.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn keep_certificate(&self, certificate: &Certificate) -> Result<(), Error> {
        files::keep(self.store.place.as_ref(), CERTIFICATE, &pretty(certificate)).await
    }
}
