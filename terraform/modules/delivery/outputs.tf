output "repository" {
  description = "The repository of our own images, as images are named: IMAGE_REPOSITORY."
  value       = "${var.registry.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.own.repository_id}"
}

output "provider" {
  description = "The Workload Identity provider of the jobs that push: GOOGLE_PROVIDER."
  value       = google_iam_workload_identity_pool_provider.circleci.name
}

output "account" {
  description = "E-mail address of the account as which they push: GOOGLE_SERVICE_ACCOUNT."
  value       = google_service_account.pusher.email
}

output "attestor" {
  description = "Full name of the attestor."
  value       = "projects/${var.project}/attestors/${google_binary_authorization_attestor.this.name}"
}

output "attestor_key" {
  description = "The version of the key with which images are attested."
  value       = data.google_kms_crypto_key_version.attestor.name
}
