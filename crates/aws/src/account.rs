//! One AWS account: clients per region, credentials, and who they belong to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use landfall_runner::{ApplyError, Identity, WhoAmI};

use crate::trouble::{Trouble, patiently};

/// Why an account cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There are no credentials, or they are not accepted.
    #[error("no AWS credentials that work: {why}")]
    Credentials {
        /// What AWS or the credential chain said.
        why: String,
    },
    /// They belong to another account.
    #[error("these credentials belong to account {found} ({arn}), but the platform file declares {declared}")]
    OtherAccount {
        /// The account the platform declares.
        declared: String,
        /// The account they belong to.
        found: String,
        /// Whose they are.
        arn: String,
    },
}

/// One AWS account, as the standard credential chain opens it.
pub struct Account {
    declared: String,
    region: String,
    /// Where everything is asked, when that is not AWS.
    emulator: Option<String>,
    config: Mutex<Loaded>,
    pub(crate) http: reqwest::Client,
}

struct Loaded {
    config: SdkConfig,
    cloudformation: HashMap<String, aws_sdk_cloudformation::Client>,
    /// For requests that no SDK client makes.
    credentials: Option<Credentials>,
}

impl Account {
    /// Opens the account `declared`, refusing credentials of any other before anything is done with them.
    ///
    /// # Errors
    /// No credentials that work, or those of another account.
    pub async fn connect(declared: &str, region: &str) -> Result<Arc<Account>, ConnectError> {
        Account::open(declared, region, None).await
    }

    /// Opens the account `declared` of an emulator at an address, whatever the environment says: tests run
    /// against several emulators from one process.
    ///
    /// # Errors
    /// No answer, or that of another account.
    pub async fn connect_emulator(
        declared: &str,
        region: &str,
        url: &str,
    ) -> Result<Arc<Account>, ConnectError> {
        Account::open(declared, region, Some(url.to_owned())).await
    }

    async fn open(
        declared: &str,
        region: &str,
        emulator: Option<String>,
    ) -> Result<Arc<Account>, ConnectError> {
        let account = Account {
            declared: declared.to_owned(),
            region: region.to_owned(),
            config: Mutex::new(Loaded {
                config: load(declared, region, emulator.as_deref()).await,
                cloudformation: HashMap::new(),
                credentials: None,
            }),
            emulator,
            http: reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(10))
                .timeout(Duration::from_secs(60))
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("the TLS provider is compiled in"),
        };
        let (found, arn) =
            patiently(None, || account.caller())
                .await
                .map_err(|trouble| ConnectError::Credentials {
                    why: trouble.to_string(),
                })?;
        if found != declared {
            return Err(ConnectError::OtherAccount {
                declared: declared.to_owned(),
                found,
                arn,
            });
        }
        Ok(Arc::new(account))
    }

    /// The account's id.
    pub fn id(&self) -> &str {
        &self.declared
    }

    /// The platform's region.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    fn config(&self) -> SdkConfig {
        self.config
            .lock()
            .expect("nobody panics while holding the configuration")
            .config
            .clone()
    }

    /// The CloudFormation client of a region.
    pub(crate) fn cloudformation(&self, region: &str) -> aws_sdk_cloudformation::Client {
        let mut loaded = self
            .config
            .lock()
            .expect("nobody panics while holding the configuration");
        let config = loaded.config.clone();
        loaded
            .cloudformation
            .entry(region.to_owned())
            .or_insert_with(|| {
                let config = aws_sdk_cloudformation::config::Builder::from(&config)
                    .region(Region::new(region.to_owned()))
                    .build();
                aws_sdk_cloudformation::Client::from_conf(config)
            })
            .clone()
    }

    /// The address set by `AWS_ENDPOINT_URL` or the profile, when there is one.
    pub fn endpoint(&self) -> Option<String> {
        self.config()
            .endpoint_url()
            .map(|url| url.trim_end_matches('/').to_owned())
    }

    /// The credentials in use now: fetched once, and again shortly before they expire.
    pub(crate) async fn credentials(&self) -> Result<Credentials, Trouble> {
        let fresh = |credentials: &Credentials| {
            credentials
                .expiry()
                .is_none_or(|expiry| expiry > SystemTime::now() + FETCH_BEFORE_EXPIRY)
        };
        let config = {
            let loaded = self
                .config
                .lock()
                .expect("nobody panics while holding the configuration");
            if let Some(credentials) = loaded.credentials.clone().filter(fresh) {
                return Ok(credentials);
            }
            loaded.config.clone()
        };
        let credentials = fetch(&config).await?;
        self.config
            .lock()
            .expect("nobody panics while holding the configuration")
            .credentials = Some(credentials.clone());
        Ok(credentials)
    }

    /// The account and ARN of whoever these credentials are.
    pub(crate) async fn caller(&self) -> Result<(String, String), Trouble> {
        caller(&self.config()).await
    }

    /// Reads the credential chain anew. What it finds is used only once it is known to belong to this
    /// account: steps of other kinds go on meanwhile.
    ///
    /// # Errors
    /// What it finds is not accepted, or belongs to another account.
    pub async fn renew(&self) -> Result<(), String> {
        let config = load(&self.declared, &self.region, self.emulator.as_deref()).await;
        match caller(&config).await {
            Ok((found, _)) if found == self.declared => {
                let mut loaded = self
                    .config
                    .lock()
                    .expect("nobody panics while holding the configuration");
                *loaded = Loaded {
                    config,
                    cloudformation: HashMap::new(),
                    credentials: None,
                };
                Ok(())
            }
            Ok((found, _)) => Err(format!(
                "the new credentials belong to account {found}, not {}",
                self.declared
            )),
            Err(trouble) => Err(trouble.to_string()),
        }
    }
}

/// How long before their end credentials are fetched again.
const FETCH_BEFORE_EXPIRY: Duration = Duration::from_secs(60);

async fn caller(config: &SdkConfig) -> Result<(String, String), Trouble> {
    let identity = aws_sdk_sts::Client::new(config)
        .get_caller_identity()
        .send()
        .await?;
    Ok((
        identity.account.unwrap_or_default(),
        identity.arn.unwrap_or_default(),
    ))
}

async fn fetch(config: &SdkConfig) -> Result<Credentials, Trouble> {
    let Some(provider) = config.credentials_provider() else {
        return Err(Trouble::Denied("no credentials are configured".to_owned()));
    };
    provider.provide_credentials().await.map_err(|error| {
        let text = format!("{error}{}", source_text(&error));
        if text.to_lowercase().contains("expired") {
            Trouble::Expired(text)
        } else {
            Trouble::Denied(text)
        }
    })
}

fn source_text(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map(|source| format!(": {source}{}", source_text(source)))
        .unwrap_or_default()
}

/// The standard chain: environment, profile and SSO, web identity, container, instance. An emulator tells
/// accounts apart by the access key's id.
async fn load(account: &str, region: &str, emulator: Option<&str>) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(url) = emulator {
        let credentials = Credentials::new(account, "test", Some("test".to_owned()), None, "emulator");
        loader = loader.endpoint_url(url).credentials_provider(credentials);
    }
    loader
        .region(Region::new(region.to_owned()))
        .app_name(
            aws_config::AppName::new("landfall").expect("the name has no characters that need escaping"),
        )
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(10))
                .operation_attempt_timeout(Duration::from_secs(60))
                .build(),
        )
        .load()
        .await
}

#[async_trait]
impl WhoAmI for Account {
    async fn who_am_i(&self) -> Result<Identity, ApplyError> {
        let doing = "asking whose credentials these are";
        let (account, arn) = self.caller().await.map_err(|trouble| trouble.failing(doing))?;
        let credentials = self
            .credentials()
            .await
            .map_err(|trouble| trouble.failing(doing))?;
        Ok(Identity {
            account,
            arn,
            temporary: credentials.session_token().is_some(),
            lasts: credentials
                .expiry()
                .map(|expiry| expiry.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)),
        })
    }
}
