# CircleCI's jobs prove who they are with a token of their own, which Google
# exchanges for one of an account for an hour. There is no key.

resource "google_iam_workload_identity_pool" "circleci" {
  project                   = var.project
  workload_identity_pool_id = "circleci"
  display_name              = "CircleCI"
  description               = "Jobs that promote and rotate"
}

locals {
  # Contexts by what their jobs do.
  contexts = { for job, context in var.pipeline.contexts : job => context if context != null }

  held  = "assertion['oidc.circleci.com/context-ids']"
  lists = join(" || ", [for context in values(local.contexts) : "'${context}' in ${local.held}"])
}

resource "google_iam_workload_identity_pool_provider" "circleci" {
  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.circleci.workload_identity_pool_id
  workload_identity_pool_provider_id = "circleci"
  display_name                       = "CircleCI"
  description                        = "Jobs of one project, with a context of this environment, on the branch main, not rerun with SSH"

  oidc {
    issuer_uri        = var.pipeline.issuer
    allowed_audiences = [var.pipeline.organisation]
  }
  # CircleCI's own subject can be longer than the 127 bytes that Google takes.
  # A job with both contexts promotes.
  attribute_mapping = {
    "google.subject" = "assertion['oidc.circleci.com/project-id']"
    "attribute.job"  = "'${local.contexts.promoter}' in ${local.held} ? 'promoter' : 'rotator'"
  }
  # The claims of Vault's roles (regions/src/plan/vault/desired.rs).
  attribute_condition = join(" && ", [
    "assertion['oidc.circleci.com/project-id'] == '${var.pipeline.project}'",
    "assertion['oidc.circleci.com/vcs-ref'] == 'refs/heads/main'",
    "assertion['oidc.circleci.com/ssh-rerun'] == false",
    "(${local.lists})",
  ])
}
