# As whom jobs of the branch main push: by their own OIDC token, for an hour,
# and without a key.

resource "google_service_account" "pusher" {
  project      = var.project
  account_id   = "pusher"
  display_name = "Pushes images"
  description  = "CircleCI's jobs that build; pushes and attests images, and has no key"
}

resource "google_iam_workload_identity_pool" "circleci" {
  project                   = var.project
  workload_identity_pool_id = "circleci"
  display_name              = "CircleCI"
  description               = "Jobs that push images"
}

resource "google_iam_workload_identity_pool_provider" "circleci" {
  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.circleci.workload_identity_pool_id
  workload_identity_pool_provider_id = "circleci"
  display_name                       = "CircleCI"
  description                        = "Jobs of one project, on the branch main, not rerun with SSH"

  oidc {
    issuer_uri        = var.pipeline.issuer
    allowed_audiences = [var.pipeline.organisation]
  }
  # CircleCI's own subject can be longer than the 127 bytes that Google takes.
  attribute_mapping = {
    "google.subject"    = "assertion['oidc.circleci.com/project-id']"
    "attribute.project" = "assertion['oidc.circleci.com/project-id']"
  }
  # The claims of Vault's roles (regions/src/plan/vault/desired.rs).
  attribute_condition = join(" && ", [
    "assertion['oidc.circleci.com/project-id'] == '${var.pipeline.project}'",
    "assertion['oidc.circleci.com/vcs-ref'] == 'refs/heads/main'",
    "assertion['oidc.circleci.com/ssh-rerun'] == false",
  ])
}

resource "google_service_account_iam_member" "pusher" {
  service_account_id = google_service_account.pusher.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.circleci.name}/attribute.project/${var.pipeline.project}"
}
