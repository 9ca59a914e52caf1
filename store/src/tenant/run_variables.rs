//! Values that a caller gives for one run, in place of stored variables. They may be as secret as
//! these, so they are stored as sealed texts with the run's request.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use domain::id::RunId;

use super::Tenant;
use crate::error::Error;
use crate::seal::Place;
use crate::secret::Secret;

impl Tenant {
    /// Seals values: they open as these names of this run and nowhere else.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] when the tenant's data key does not open.
    pub async fn seal_for_run(
        &self,
        run: RunId,
        values: &BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let Some(first) = values.keys().next() else {
            return Ok(BTreeMap::new());
        };
        let key = self.read_data_key(first).await?;
        let sealed = |(name, value): (&String, &Secret)| {
            let sealed = key.seal(self.id(), Place::OfRun(run, name), value);
            (name.clone(), STANDARD_NO_PAD.encode(sealed))
        };
        Ok(values.iter().map(sealed).collect())
    }

    /// Opens what [`Self::seal_for_run`] sealed.
    ///
    /// # Errors
    /// [`Error::Undecryptable`] names the first value that does not open.
    pub async fn reveal_of_run(
        &self,
        run: RunId,
        sealed: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Secret>, Error> {
        let Some(first) = sealed.keys().next() else {
            return Ok(BTreeMap::new());
        };
        let key = self.read_data_key(first).await?;
        let opened = sealed.iter().map(|(name, sealed)| {
            let place = Place::OfRun(run, name);
            let bytes = STANDARD_NO_PAD.decode(sealed).ok();
            let value = bytes.and_then(|bytes| key.open(self.id(), place, &bytes).ok());
            let value = value.ok_or_else(|| Error::Undecryptable { name: name.clone() })?;
            Ok((name.clone(), value))
        });
        opened.collect()
    }
}
