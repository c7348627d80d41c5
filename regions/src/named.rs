//! A region that a verb names: by its name, or as ENVIRONMENT/REGION.

use std::path::PathBuf;

use crate::catalogue::region::Region;
use crate::catalogue::{Catalogue, Environment, Unknown};

/// The region that is meant.
#[derive(Debug, Clone, clap::Args)]
pub struct Named {
    /// The region, by its name, or as ENVIRONMENT/REGION
    #[arg(value_name = "REGION")]
    pub region: String,
    /// The environment; needed where several have a region of that name
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: Option<String>,
}

/// Regions of an environment whose clusters are read.
#[derive(Debug, Clone, clap::Args)]
pub struct Read {
    /// The environment
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    pub environment: String,
    /// These regions alone
    #[arg(long, value_name = "REGION")]
    pub region: Vec<String>,
    /// The kubeconfig with every region's context [default: KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Why it is not known which region is meant.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// There is none.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// There are several.
    #[error("{region} is in several environments; name one with --env: {}", .environments.join(", "))]
    Ambiguous {
        /// The name.
        region: String,
        /// Those that have a region of that name.
        environments: Vec<String>,
    },
    /// Two environments are named.
    #[error("{region} names another environment than --env {environment}")]
    Contradiction {
        /// The region as it was named.
        region: String,
        /// The other environment.
        environment: String,
    },
}

impl Named {
    /// The region in the catalogue.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find<'a>(&self, catalogue: &'a Catalogue) -> Result<(&'a Environment, &'a Region), NameError> {
        let (named, name) = match self.region.split_once('/') {
            Some((environment, name)) => (Some(environment), name),
            None => (None, self.region.as_str()),
        };
        if let (Some(named), Some(environment)) = (named, &self.environment)
            && named != environment
        {
            let environment = environment.clone();
            return Err(NameError::Contradiction { region: self.region.clone(), environment });
        }
        if let Some(environment) = named.or(self.environment.as_deref()) {
            let environment = catalogue.environment(environment)?;
            return Ok((environment, environment.region(name)?));
        }
        let found: Vec<_> = catalogue
            .environments()
            .iter()
            .filter_map(|environment| Some((environment, environment.region(name).ok()?)))
            .collect();
        match found[..] {
            [one] => Ok(one),
            [] => Err(catalogue.no_region(name).into()),
            _ => {
                let environments = found.iter().map(|(environment, _)| environment.name.clone()).collect();
                Err(NameError::Ambiguous { region: name.into(), environments })
            }
        }
    }
}
