use proptest::prelude::*;
use serde_json::json;

use super::*;

const PATHS: [&str; 9] = [
    "sys/mounts/kv",
    "kv/config",
    "sys/audit/file",
    "sys/policies/acl/service",
    "sys/policies/acl/watcher",
    "sys/auth/approle",
    "auth/approle/role/service",
    "auth/approle/role/watcher",
    "sys/quotas/rate-limit/meridian-kv",
];

/// Fields of an object; two numbers are two states of it.
fn fields(path: &str, state: u8) -> Fields {
    let mut fields = Fields::from_iter([("state".to_owned(), json!(state))]);
    match Kind::of(path) {
        Kind::Mount => {
            fields.extend([
                ("type".to_owned(), json!("kv")),
                ("options".to_owned(), json!({"version": "2"})),
                ("description".to_owned(), json!(DESCRIPTION)),
            ]);
        }
        Kind::Auth => {
            fields.insert("type".into(), json!("approle"));
        }
        _ => {}
    }
    fields
}

fn object(path: &str, state: u8) -> Object {
    Object { path: path.into(), fields: fields(path, state) }
}

fn observed(objects: &[(&str, u8)], made: &[&str]) -> Observed {
    let objects = objects.iter().map(|(path, state)| ((*path).to_owned(), fields(path, *state)));
    Observed {
        objects: objects.collect(),
        made: made.iter().map(|path| (*path).to_owned()).collect(),
        strangers: BTreeMap::new(),
    }
}

fn steps(plan: &Plan) -> Vec<(&str, Action)> {
    plan.steps.iter().map(|step| (step.path.as_str(), step.action)).collect()
}

/// What a Vault holds once the first so many steps of a plan were taken, and the inventory was written before.
fn after(plan: &Plan, mut observed: Observed, taken: usize) -> Observed {
    for step in &plan.steps[..taken] {
        match step.action {
            Action::Remove => observed.objects.remove(&step.path),
            _ => observed.objects.insert(step.path.clone(), step.wanted.clone()),
        };
    }
    match taken == plan.steps.len() {
        true => observed.made.clone_from(&plan.made),
        false => observed.made.extend(plan.made.iter().cloned()),
    }
    observed
}

const PRUNE: Allowed = Allowed { prune: true, adopt: false };

#[test]
fn of_an_empty_vault_everything_is_made_in_the_order_in_which_it_is_wanted() {
    let wanted: Vec<Object> = PATHS.iter().map(|path| object(path, 0)).collect();
    let plan = plan(&wanted, &Observed::default(), Allowed::default());
    assert_eq!(steps(&plan), PATHS.map(|path| (path, Action::Create)));
    let counted = ["sys/mounts/kv", "kv/config"];
    assert!(counted.iter().all(|path| !plan.made.contains(*path)) && plan.made.len() == PATHS.len() - 2);
}

#[test]
fn a_field_that_the_catalogue_does_not_know_is_not_touched() {
    let mut live = observed(&[("sys/policies/acl/service", 0)], &["sys/policies/acl/service"]);
    live.objects.get_mut("sys/policies/acl/service").unwrap().insert("modified".into(), json!("later"));
    let plan = plan(&[object("sys/policies/acl/service", 0)], &live, PRUNE);
    assert_eq!(plan.steps, []);
}

#[test]
fn a_drift_names_each_field_with_what_it_is_and_what_it_will_be() {
    let live = observed(&[("kv/config", 7)], &[]);
    let plan = plan(&[object("kv/config", 1)], &live, Allowed::default());
    assert_eq!(steps(&plan), [("kv/config", Action::Change)]);
    let field = &plan.steps[0].fields[0];
    assert_eq!(
        (field.path.as_str(), &field.before, &field.after),
        ("state", &Some(json!(7)), &Some(json!(1)))
    );
}

#[test]
fn a_role_goes_before_its_auth_method_and_both_before_the_policy_that_they_name() {
    let all = ["auth/approle/role/service", "sys/auth/approle", "sys/policies/acl/service"];
    let live = observed(&all.map(|path| (path, 0)), &all);
    assert_eq!(steps(&plan(&[], &live, PRUNE)), all.map(|path| (path, Action::Remove)));
    let kept = plan(&[], &live, Allowed::default());
    assert_eq!((kept.steps.len(), kept.unwanted.len()), (0, 3));
    assert_eq!(kept.made, live.made, "what stays is still known as made");
}

#[test]
fn an_auth_method_with_roles_of_others_stays() {
    let mut live = observed(&[("sys/auth/approle", 0)], &["sys/auth/approle"]);
    live.strangers.insert("sys/auth/approle".into(), vec!["backup".into()]);
    let plan = plan(&[], &live, PRUNE);
    assert_eq!(plan.steps, []);
    assert_eq!(plan.unwanted[0].why, "it has roles that others made: backup");
}

#[test]
fn what_is_gone_already_leaves_the_inventory() {
    let plan = plan(&[], &observed(&[], &["sys/policies/acl/service"]), PRUNE);
    assert_eq!((plan.steps.len(), plan.made.len()), (0, 0));
}

#[test]
fn no_write_makes_another_type_of_a_mount() {
    let obstacles = [
        ("type", json!("transit"), "it is of the type transit, not kv; move it elsewhere"),
        ("options", json!({"version": "1"}), "it is KV v1; upgrade it"),
        ("options", json!(null), "it is KV v1; upgrade it"),
        ("description", json!("ours"), "regions did not make it"),
    ];
    for (field, value, told) in obstacles {
        let mut live = observed(&[("sys/mounts/kv", 0)], &[]);
        live.objects.get_mut("sys/mounts/kv").unwrap().insert(field.into(), value);
        let plan = plan(&[object("sys/mounts/kv", 0)], &live, PRUNE);
        assert!(plan.steps.is_empty() && plan.refused[0].why.contains(told), "{field}: {:?}", plan.refused);
    }
}

#[test]
fn vaults_own_ways_of_writing_a_value_are_no_drift() {
    let pairs = [
        (json!(["a", "b"]), json!(["b", "a"]), true),
        (json!(["a"]), json!(["a", "b"]), false),
        (json!([]), json!(null), true),
        (json!({}), json!(null), true),
        (json!(""), json!(null), true),
        (json!(10), json!(10.0), true),
        (json!(0), json!(null), false),
        (json!(false), json!(null), false),
    ];
    for (wanted, live, expected) in pairs {
        assert_eq!(same(&wanted, &live), expected, "{wanted} {live}");
    }
}

prop_compose! {
    /// A state for some of the paths.
    fn some()(states in prop::collection::vec(prop::option::of(0u8..3), PATHS.len())) -> Vec<(&'static str, u8)> {
        PATHS.into_iter().zip(states).filter_map(|(path, state)| Some((path, state?))).collect()
    }
}

proptest! {
    #[test]
    fn a_run_that_ends_anywhere_is_followed_by_one_that_reaches_the_same_end(
        wanted in some(),
        live in some(),
        made in some(),
        prune: bool,
        at: prop::sample::Index,
    ) {
        let wanted: Vec<Object> = wanted.iter().map(|(path, state)| object(path, *state)).collect();
        let made: Vec<&str> = made.iter().map(|(path, _)| *path).filter(|path| counted(Kind::of(path))).collect();
        let live = observed(&live, &made);
        let allowed = Allowed { prune, adopt: true };
        let whole = plan(&wanted, &live, allowed);
        prop_assert_eq!(&whole.refused, &[]);
        let end = after(&whole, live.clone(), whole.steps.len());
        prop_assert_eq!(plan(&wanted, &end, if prune { PRUNE } else { Allowed::default() }).steps, []);

        let taken = at.index(whole.steps.len() + 1);
        let middle = after(&whole, live, taken);
        // What a first run made is its own: nothing has to be adopted again that it wrote.
        let rest = plan(&wanted, &middle, allowed);
        prop_assert!(rest.steps.iter().filter(|step| step.action == Action::Adopt).all(|step| !middle.made.contains(&step.path)));
        let other = after(&rest, middle, rest.steps.len());
        prop_assert_eq!(other.objects, end.objects);
        prop_assert_eq!(other.made, end.made);
    }

    #[test]
    fn nothing_that_others_made_is_changed_or_removed_unless_adopted(
        wanted in some(),
        live in some(),
        made in some(),
        prune: bool,
    ) {
        let wanted: Vec<Object> = wanted.iter().map(|(path, state)| object(path, *state)).collect();
        let made: Vec<&str> = made.iter().map(|(path, _)| *path).collect();
        let live = observed(&live, &made);
        let plan = plan(&wanted, &live, Allowed { prune, adopt: false });
        for step in &plan.steps {
            let own = live.made.contains(&step.path) || !counted(Kind::of(&step.path));
            prop_assert!(own || !live.objects.contains_key(&step.path), "{}", step.path);
            prop_assert!(prune || step.action != Action::Remove);
        }
    }
}
