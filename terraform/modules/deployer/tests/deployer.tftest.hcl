# Needs no credentials: nothing of Google is called.
mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      name   = "projects/meridian-test/serviceAccounts/job@meridian-test.iam.gserviceaccount.com"
      email  = "job@meridian-test.iam.gserviceaccount.com"
      member = "serviceAccount:job@meridian-test.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_iam_workload_identity_pool" {
    defaults = { name = "projects/1/locations/global/workloadIdentityPools/circleci" }
  }
}

variables {
  project = "meridian-test"
  pipeline = {
    organisation = "0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
    project      = "6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002"
    issuer       = "https://oidc.circleci.com/org/0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
    contexts = {
      promoter = "a1e4c7d2-2111-4c8f-b6a9-52d0e8f4c003"
      rotator  = "c93b5f08-2111-4f1d-9e72-8b6d4a2fe004"
    }
  }
}

run "lets_each_kind_of_job_be_its_own_account" {
  command = apply

  assert {
    condition = {
      for job, one in google_service_account_iam_member.job : job => one.member
      } == {
      promoter = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/circleci/attribute.job/promoter"
      rotator  = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/circleci/attribute.job/rotator"
    }
    error_message = jsonencode(google_service_account_iam_member.job)
  }
  assert {
    condition     = google_project_iam_custom_role.connect.permissions == toset(["container.clusters.connect", "container.clusters.get"])
    error_message = jsonencode(google_project_iam_custom_role.connect)
  }
}

run "grants_nothing_outside_of_two_namespaces" {
  command = apply

  assert {
    condition = toset([
      for item in output.access.items : try(item.metadata.namespace, "") if endswith(item.kind, "Role") && item.kind != "ClusterRole"
    ]) == toset(["meridian", "vault"])
    error_message = jsonencode(output.access)
  }
  assert {
    condition = alltrue(flatten([
      for item in output.access.items : [
        for rule in item.rules :
        item.kind != "ClusterRole" || rule.resources == ["namespaces"] && rule.verbs == ["get"] || (
          item.metadata.name == "meridian-promoter" && rule.apiGroups == ["admissionregistration.k8s.io"] &&
          try(rule.resourceNames, []) == ["fence.meridian.meridian.internal"]
        ) || item.metadata.name == "meridian-promoter" && rule.resources == ["nodes", "pods"] && rule.verbs == ["list"]
      ] if can(item.rules)
    ]))
    error_message = "in the whole cluster, namespaces may be looked at by their names, the promoter writes the fence and lists nodes and pods, and nothing else"
  }
}

run "lets_who_promotes_to_the_next_environment_read_records_and_nothing_else" {
  command = apply
  variables {
    successor = "meridian-next"
  }

  assert {
    condition     = [for one in google_project_iam_member.successor : one.member] == ["serviceAccount:promoter@meridian-next.iam.gserviceaccount.com"]
    error_message = jsonencode(google_project_iam_member.successor)
  }
  assert {
    condition = jsonencode([
      for item in output.access.items : [item.kind, item.metadata, try(item.rules, item.subjects)]
      if endswith(item.metadata.name, "successor")
      ]) == jsonencode([
      ["Role", { name = "meridian-successor", namespace = "meridian" }, [{ apiGroups = [""], resources = ["configmaps"], verbs = ["list"] }]],
      ["RoleBinding", { name = "meridian-successor", namespace = "meridian" }, [
        { apiGroup = "rbac.authorization.k8s.io", kind = "User", name = "promoter@meridian-next.iam.gserviceaccount.com" },
      ]],
    ])
    error_message = jsonencode(output.access)
  }
}

run "does_without_jobs_that_rotate" {
  command = plan
  variables {
    pipeline = {
      organisation = "0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
      project      = "6d2f9a7c-1111-4b0e-8a53-1e9c3f7bd002"
      issuer       = "https://oidc.circleci.com/org/0f8b3c5e-1111-4e6a-9d2b-7c41a5e9d001"
      contexts     = { promoter = "a1e4c7d2-2111-4c8f-b6a9-52d0e8f4c003" }
    }
  }

  assert {
    condition     = keys(google_service_account.job) == ["promoter"]
    error_message = jsonencode(keys(google_service_account.job))
  }
}
