//! From what a region's Vault holds and what the catalogue wants of it to the steps that lead from one to the
//! other.
//!
//! An object is named by its path in Vault's API, and described by the fields that a read of it answers. What
//! `regions` made is known by an inventory that is kept in that Vault (and the mount of the secrets, in which
//! the inventory lies, by its description), so that a person's objects are told from its own.

pub mod chart;
pub mod desired;
pub mod documents;
pub mod members;
pub mod policies;
pub mod seed;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::diff::FieldChange;

pub use desired::{DESCRIPTION, MOUNT};

/// Fields of an object.
pub type Fields = Map<String, Value>;

/// What is wanted at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its path in Vault's API, without `/v1/`.
    pub path: String,
    /// Every field that counts, as a read of it answers.
    pub fields: Fields,
}

/// Kinds of objects, as far as they are read, written and owned in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The mount of a secrets engine.
    Mount,
    /// An audit device.
    Audit,
    /// A policy.
    Policy,
    /// The mount of an auth method.
    Auth,
    /// A role of an auth method.
    Role,
    /// A rate-limit quota.
    Quota,
    /// Settings of something else, which are there as long as that is.
    Settings,
}

impl Kind {
    /// The kind of what lies at a path.
    pub fn of(path: &str) -> Self {
        let role = path.strip_prefix("auth/").and_then(|rest| rest.split_once('/'));
        match path {
            _ if path.starts_with("sys/mounts/") => Self::Mount,
            _ if path.starts_with("sys/audit/") => Self::Audit,
            _ if path.starts_with("sys/policies/acl/") => Self::Policy,
            _ if path.starts_with("sys/auth/") => Self::Auth,
            _ if path.starts_with("sys/quotas/rate-limit/") => Self::Quota,
            _ if role.is_some_and(|(_, rest)| rest.starts_with("role/")) => Self::Role,
            _ => Self::Settings,
        }
    }
}

/// What a Vault holds, as far as the catalogue is concerned.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// What was found at the wanted paths and at those that the inventory names.
    pub objects: BTreeMap<String, Fields>,
    /// The inventory: paths of what `regions` made.
    pub made: BTreeSet<String>,
    /// Roles by the path of their auth method that neither the catalogue nor the inventory has.
    pub strangers: BTreeMap<String, Vec<String>>,
}

/// What the caller allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// To remove what was made and is no longer wanted.
    pub prune: bool,
    /// To take over what somebody else made at a wanted path.
    pub adopt: bool,
}

/// What leads from what is there to what is wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The steps, in the order in which they are taken.
    pub steps: Vec<Step>,
    /// What was made, is no longer wanted, and stays.
    pub unwanted: Vec<Unwanted>,
    /// What stands in the way. Nothing is written while something does.
    pub refused: Vec<Refused>,
    /// The inventory as it is to be in the end.
    #[serde(skip)]
    pub made: BTreeSet<String>,
}

/// One object, and what happens to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Its path.
    pub path: String,
    /// What happens to it.
    pub action: Action,
    /// Each field that differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// What is wanted; empty for what goes.
    #[serde(skip)]
    pub wanted: Fields,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// Somebody else made it; it is changed where it differs, and counts as made from now on.
    Adopt,
    /// It goes.
    Remove,
}

/// What was made, is no longer wanted, and stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unwanted {
    /// Its path.
    pub path: String,
    /// Why it stays.
    pub why: String,
}

/// Why an object cannot be what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its path.
    pub path: String,
    /// What it is, and what to do.
    pub why: String,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many steps do this.
    pub fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }
}

/// Plans. With nothing to do the plan has no steps.
pub fn plan(wanted: &[Object], observed: &Observed, allowed: Allowed) -> Plan {
    let mut plan = Plan { made: observed.made.clone(), ..Plan::default() };
    for object in wanted {
        match observed.objects.get(&object.path) {
            None => plan.step(object, Action::Create, Vec::new()),
            Some(live) => match obstacle(object, live) {
                Some(why) => plan.refused.push(Refused { path: object.path.clone(), why }),
                None => meet(&mut plan, object, live, observed, allowed),
            },
        }
    }
    let paths: BTreeSet<&str> = wanted.iter().map(|object| object.path.as_str()).collect();
    let mut removals = Vec::new();
    for path in observed.made.iter().filter(|path| !paths.contains(path.as_str())) {
        if !observed.objects.contains_key(path) {
            plan.made.remove(path);
            continue;
        }
        let why = match observed.strangers.get(path) {
            Some(roles) => format!("it has roles that others made: {}", roles.join(", ")),
            None if !allowed.prune => "remove it with --prune".into(),
            None => {
                removals.push(path.clone());
                continue;
            }
        };
        plan.unwanted.push(Unwanted { path: path.clone(), why });
    }
    // A role goes before its auth method, and both before the policy that they name.
    removals.sort_by_key(|path| match Kind::of(path) {
        Kind::Role => 0,
        Kind::Auth => 1,
        _ => 2,
    });
    for path in removals {
        plan.made.remove(&path);
        plan.steps.push(Step { path, action: Action::Remove, fields: Vec::new(), wanted: Fields::new() });
    }
    plan
}

impl Plan {
    fn step(&mut self, object: &Object, action: Action, fields: Vec<FieldChange>) {
        if counted(Kind::of(&object.path)) {
            self.made.insert(object.path.clone());
        }
        self.steps.push(Step { path: object.path.clone(), action, fields, wanted: object.fields.clone() });
    }
}

/// What is to be done about an object that is there.
fn meet(plan: &mut Plan, object: &Object, live: &Fields, observed: &Observed, allowed: Allowed) {
    let fields = differences(&object.fields, live);
    let own = match Kind::of(&object.path) {
        Kind::Mount => live.get("description").and_then(Value::as_str) == Some(DESCRIPTION),
        Kind::Settings => true,
        _ => observed.made.contains(&object.path),
    };
    match (own, allowed.adopt) {
        (true, _) if fields.is_empty() => {}
        (true, _) => plan.step(object, Action::Change, fields),
        (false, true) => plan.step(object, Action::Adopt, fields),
        (false, false) => {
            let why = "it is there, and regions did not make it; remove it, or take it over with --adopt";
            plan.refused.push(Refused { path: object.path.clone(), why: why.into() });
        }
    }
}

/// Whether the inventory counts objects of a kind.
fn counted(kind: Kind) -> bool {
    !matches!(kind, Kind::Mount | Kind::Settings)
}

/// What no write turns into what is wanted.
fn obstacle(object: &Object, live: &Fields) -> Option<String> {
    if !matches!(Kind::of(&object.path), Kind::Mount | Kind::Auth) {
        return None;
    }
    let of = |fields: &Fields| fields.get("type").and_then(Value::as_str).unwrap_or("none").to_owned();
    let (wanted, found) = (of(&object.fields), of(live));
    if wanted != found {
        return Some(format!(
            "it is of the type {found}, not {wanted}; move it elsewhere (vault secrets move)"
        ));
    }
    let version = |fields: &Fields| fields.get("options").and_then(|options| options.get("version")).cloned();
    let wanted = version(&object.fields)?;
    (version(live).as_ref() != Some(&wanted))
        .then(|| "it is KV v1; upgrade it (vault kv enable-versioning), or move it elsewhere".into())
}

/// The wanted fields that are not as wanted.
fn differences(wanted: &Fields, live: &Fields) -> Vec<FieldChange> {
    let differing =
        wanted.iter().filter(|(name, value)| !same(value, live.get(*name).unwrap_or(&Value::Null)));
    differing
        .map(|(name, value)| FieldChange {
            path: name.clone(),
            before: live.get(name).filter(|value| !value.is_null()).cloned(),
            after: Some(value.clone()),
        })
        .collect()
}

/// Whether a field is as wanted. Vault answers lists in an order of its own, nothing for an empty one, and whole
/// numbers with or without a fraction.
fn same(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Array(wanted), Value::Array(live)) => {
            let set = |values: &[Value]| values.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            set(wanted) == set(live)
        }
        (Value::Number(wanted), Value::Number(live)) => wanted.as_f64() == live.as_f64(),
        (Value::Array(wanted), Value::Null) => wanted.is_empty(),
        (Value::Object(wanted), Value::Null) => wanted.is_empty(),
        (Value::String(wanted), Value::Null) => wanted.is_empty(),
        _ => wanted == live,
    }
}

#[cfg(test)]
mod tests;
