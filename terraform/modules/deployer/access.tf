# What the jobs may do in a cluster, as Kubernetes' own rights: Google's know no
# namespaces, and no single Service. An operator applies the list when a region
# is made (README.md of terraform/).

locals {
  may = {
    # What the chart has, and what stands beside a release.
    objects = [
      { apiGroups = [""], resources = ["configmaps", "services", "serviceaccounts"], verbs = local.writes },
      { apiGroups = ["apps"], resources = ["deployments"], verbs = local.writes },
      { apiGroups = ["autoscaling"], resources = ["horizontalpodautoscalers"], verbs = local.writes },
      { apiGroups = ["networking.k8s.io"], resources = ["networkpolicies"], verbs = local.writes },
      { apiGroups = ["policy"], resources = ["poddisruptionbudgets"], verbs = local.writes },
      { apiGroups = ["rbac.authorization.k8s.io"], resources = ["rolebindings", "roles"], verbs = local.writes },
      # Whoever reads the metrics: one of the two, as the catalogue says.
      { apiGroups = ["monitoring.googleapis.com"], resources = ["podmonitorings", "rules"], verbs = local.writes },
      { apiGroups = ["monitoring.coreos.com"], resources = ["podmonitors", "prometheusrules"], verbs = local.writes },
      # How far a rollout is.
      { apiGroups = ["apps"], resources = ["replicasets"], verbs = ["get", "list"] },
      # A drain touches pods, so that kubelets look at once.
      { apiGroups = [""], resources = ["pods"], verbs = ["get", "list", "patch"] },
    ]
    # What the chart's watcher may: nobody gives rights that are not his own.
    watcher = [
      { apiGroups = [""], resources = ["pods"], verbs = ["list", "watch"] },
      { apiGroups = ["discovery.k8s.io"], resources = ["endpointslices"], verbs = ["list", "watch"] },
      { apiGroups = ["events.k8s.io"], resources = ["events"], verbs = ["create", "patch"] },
      # A first dry run binds a role that is not there yet.
      { apiGroups = ["rbac.authorization.k8s.io"], resources = ["roles"], resourceNames = ["watcher"], verbs = ["bind"] },
    ]
    # The chart's admission policy belongs to the cluster.
    fence = [
      {
        apiGroups     = ["admissionregistration.k8s.io"]
        resources     = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"]
        resourceNames = ["fence.${var.namespace}.meridian.internal"]
        verbs         = ["create", "delete", "get", "patch", "update"]
      },
    ]
    # One at a time.
    lock = [
      { apiGroups = ["coordination.k8s.io"], resources = ["leases"], verbs = ["create", "get", "list", "patch", "update"] },
    ]
    # The watcher, and no other Service.
    ask = [
      {
        apiGroups     = [""]
        resources     = ["services/proxy"]
        resourceNames = ["watcher", "watcher:9092", "http:watcher:9092", "https:watcher:9092"]
        verbs         = ["get"]
      },
    ]
    # Vault, where no route leads to it.
    forward = [
      { apiGroups = [""], resources = ["services", "pods"], verbs = ["get", "list"] },
      { apiGroups = ["discovery.k8s.io"], resources = ["endpointslices"], verbs = ["get", "list"] },
      { apiGroups = [""], resources = ["pods/portforward"], verbs = ["create", "get"] },
    ]
    # Whether there is room for one more pod.
    room = [
      { apiGroups = [""], resources = ["nodes", "pods"], verbs = ["list"] },
    ]
    # Release records, which are ConfigMaps with names of their own.
    records = [
      { apiGroups = [""], resources = ["configmaps"], verbs = ["list"] },
    ]
    # Whether a namespace is there.
    look = [
      { apiGroups = [""], resources = ["namespaces"], resourceNames = sort(concat([var.namespace], tolist(var.vault_namespaces))), verbs = ["get"] },
    ]
  }
  writes = ["create", "delete", "get", "list", "patch", "update"]

  rules = {
    promoter = concat(local.may.objects, local.may.watcher, local.may.lock, local.may.ask)
    rotator  = concat(local.may.lock, local.may.ask)
  }
  # Of the whole cluster.
  whole = {
    promoter = concat(local.may.look, local.may.fence, local.may.room)
    rotator  = local.may.look
  }

  # The promoter's account there, as this module names its own.
  successor = var.successor == null ? null : "promoter@${var.successor}.iam.gserviceaccount.com"

  emails = { for job in keys(local.contexts) : job => google_service_account.job[job].email }

  # A role and its binding, by where they are: a namespace, or the cluster.
  grants = concat(
    [
      for job, email in local.emails :
      { user = email, name = "meridian-${job}", namespace = var.namespace, rules = local.rules[job] }
    ],
    [
      for pair in setproduct(keys(local.contexts), sort(tolist(var.vault_namespaces))) :
      { user = local.emails[pair[0]], name = "meridian-${pair[0]}", namespace = pair[1], rules = local.may.forward }
    ],
    [
      for job, email in local.emails :
      { user = email, name = "meridian-${job}", namespace = null, rules = local.whole[job] }
    ],
    [
      for email in local.successor[*] :
      { user = email, name = "meridian-successor", namespace = var.namespace, rules = local.may.records }
    ],
  )

  # Where those rights are; as strict as `regions` and the chart want them.
  namespaces = [
    for namespace in sort(concat([var.namespace], tolist(var.vault_namespaces))) : {
      apiVersion = "v1"
      kind       = "Namespace"
      metadata = {
        name   = namespace
        labels = { for mode in ["audit", "enforce", "warn"] : "pod-security.kubernetes.io/${mode}" => "restricted" }
      }
    }
  ]

  access = concat(local.namespaces, flatten([
    for grant in local.grants : [
      {
        apiVersion = "rbac.authorization.k8s.io/v1"
        kind       = grant.namespace == null ? "ClusterRole" : "Role"
        metadata   = merge({ name = grant.name }, grant.namespace == null ? {} : { namespace = grant.namespace })
        rules      = grant.rules
      },
      {
        apiVersion = "rbac.authorization.k8s.io/v1"
        kind       = grant.namespace == null ? "ClusterRoleBinding" : "RoleBinding"
        metadata   = merge({ name = grant.name }, grant.namespace == null ? {} : { namespace = grant.namespace })
        roleRef = {
          apiGroup = "rbac.authorization.k8s.io"
          kind     = grant.namespace == null ? "ClusterRole" : "Role"
          name     = grant.name
        }
        # Google Kubernetes Engine knows an account by its e-mail address.
        subjects = [{
          apiGroup = "rbac.authorization.k8s.io"
          kind     = "User"
          name     = grant.user
        }]
      },
    ]
  ]))
}
