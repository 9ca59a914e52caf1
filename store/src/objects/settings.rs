//! Where the bodies of payloads are, and how it is opened.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use serde::Deserialize;

use super::Objects;
use crate::error::Error;
use crate::secret::Secret;

/// Longest time of one request; the largest body takes a fraction of it.
const REQUEST_WAIT: Duration = Duration::from_secs(20);

/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// A request that fails is repeated so often and so long. Whoever asked repeats the whole anyway,
/// and should hear soon that storage cannot be reached.
const RETRIES_MAX: usize = 2;
const RETRY_WAIT: Duration = Duration::from_secs(10);

/// Where the bodies of payloads are put. What was put elsewhere before stays there; the database
/// can always be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadStore {
    /// In the database.
    #[default]
    Database,
    /// In files below this folder, which all processes of the cluster must see.
    Folder(PathBuf),
    /// In a bucket of a service that speaks S3.
    S3(S3),
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// `https://host:port` of a service other than Amazon's; `http://` sends sealed bodies, but
    /// also requests and signatures, in clear.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region.
    #[serde(default = "us_east_1")]
    pub region: String,
    /// What stands before the name of every object, without a slash at its ends.
    #[serde(default)]
    pub prefix: String,
    /// A file with `aws_access_key_id = …` and `aws_secret_access_key = …`, and, if there is one,
    /// `aws_session_token = …`: the form of `~/.aws/credentials`. Without it the credentials are
    /// those of the environment or of the machine's role.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
}

fn us_east_1() -> String {
    "us-east-1".to_owned()
}

impl Objects {
    /// Opens the place; `None` for the database. A folder is made where it is missing; a bucket is
    /// not asked for before it is used.
    ///
    /// # Errors
    /// [`Error::Settings`] or [`Error::File`] names what cannot be used.
    pub fn open(place: &PayloadStore) -> Result<Option<Self>, Error> {
        match place {
            PayloadStore::Database => Ok(None),
            PayloadStore::Folder(folder) => {
                let failed = |source| Error::File {
                    path: folder.clone(),
                    source: std::io::Error::other(source),
                };
                std::fs::create_dir_all(folder)
                    .map_err(|source| Error::File { path: folder.clone(), source })?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(failed)?;
                // An object must not be lost after a row refers to it, and the folder of a hash
                // goes with its last object.
                Ok(Some(Self::of(store.with_fsync(true).with_automatic_cleanup(true), "")))
            }
            PayloadStore::S3(s3) => Ok(Some(Self::of(s3.open()?, &s3.prefix))),
        }
    }

    fn of(store: impl ObjectStore, prefix: &str) -> Self {
        Self { store: Arc::new(store), prefix: Path::from(prefix) }
    }
}

impl S3 {
    fn open(&self) -> Result<impl ObjectStore, Error> {
        let mut builder = match &self.credentials_file {
            None => AmazonS3Builder::from_env(),
            Some(file) => {
                let found = Credentials::read(file)?;
                let builder = AmazonS3Builder::new()
                    .with_access_key_id(found.id)
                    .with_secret_access_key(found.secret.expose());
                match &found.token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
        };
        let client =
            ClientOptions::new().with_timeout(REQUEST_WAIT).with_connect_timeout(CONNECT_WAIT);
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_WAIT,
            ..RetryConfig::default()
        };
        builder = builder
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            let is_plain = endpoint.starts_with("http://");
            // After the options, which would set it back.
            builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
        }
        builder.build().map_err(|error| Error::Settings(format!("payloads.store.s3: {error}")))
    }
}

/// What a credentials file says.
struct Credentials {
    id: String,
    secret: Secret,
    token: Option<Secret>,
}

impl Credentials {
    fn read(file: &FilePath) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| Error::File { path: file.to_owned(), source })?;
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        let needed = |name: &str| {
            let why = format!("{} has no line `{name} = …`", file.display());
            value(name).ok_or(Error::Settings(why))
        };
        Ok(Self {
            id: needed("aws_access_key_id")?,
            secret: Secret::new(needed("aws_secret_access_key")?),
            token: value("aws_session_token").map(Secret::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_in_the_usual_form() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let text = "[default]\naws_access_key_id = AKIA\naws_secret_access_key=s=cret\n";
        std::fs::write(&file, text).unwrap();
        let read = Credentials::read(&file).unwrap();
        assert_eq!((read.id.as_str(), read.secret.expose()), ("AKIA", "s=cret"));
        assert!(read.token.is_none());
        std::fs::write(&file, "aws_access_key_id = AKIA\n").unwrap();
        let error = Credentials::read(&file).err().unwrap().to_string();
        assert!(error.contains("aws_secret_access_key"), "{error}");
        let missing = Credentials::read(&dir.path().join("none")).err().unwrap();
        assert!(matches!(missing, Error::File { .. }), "{missing}");
    }
}
