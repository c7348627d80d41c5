//! What users of a cluster that are no people may do.

use serde_json::{Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";

/// A ClusterRole with these rules, and its binding to one user: paths and objects.
pub(super) fn rights(user: &str, rules: &Value) -> [(&'static str, Value); 2] {
    let subject = json!({"apiGroup": GROUP, "kind": "User", "name": user});
    let role = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": user});
    [
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            json!({"metadata": {"name": user}, "rules": rules}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json!({"metadata": {"name": user}, "roleRef": role, "subjects": [subject]}),
        ),
    ]
}
