output "provider" {
  description = "The Workload Identity provider of the jobs: GOOGLE_PROVIDER."
  value       = google_iam_workload_identity_pool_provider.circleci.name
}

output "accounts" {
  description = "E-mail address of the account for each kind of job, promoter and rotator: GOOGLE_SERVICE_ACCOUNT."
  value       = { for job, account in google_service_account.job : job => account.email }
}

output "access" {
  description = "What the jobs may do in each cluster, and the namespaces of it, as a list of Kubernetes' objects."
  value       = { apiVersion = "v1", kind = "List", items = local.access }
}
