//! The certificate of the last teardown, kept beside the records.

use landfall_model::certificate::Certificate;
use landfall_runner::When;

use crate::error::Error;
use crate::fence::Lock;
use crate::files::pretty;

/// Under what name it is kept.
pub const CERTIFICATE: &str = "certificate.json";

impl Lock {
    /// Keeps the certificate of a teardown, in place of an earlier one.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn keep_certificate(&self, certificate: &Certificate) -> Result<(), Error> {
        let place = &self.store.place;
        place
            .write(CERTIFICATE, &pretty(certificate), When::Always)
            .await?;
        Ok(())
    }
}
