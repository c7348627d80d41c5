output "project" {
  description = "Id of the project, once what Terraform needs is in it."
  value       = google_project.this.project_id

  depends_on = [google_project_service.this]
}

output "number" {
  description = "Number of the project."
  value       = google_project.this.number
}

output "state_bucket" {
  description = "Name of the bucket of its state."
  value       = google_storage_bucket.state.name
}

output "account" {
  description = "E-mail address of the account that applies Terraform."
  value       = google_service_account.terraform.email
}

output "member" {
  description = "That account, as rights name it."
  value       = google_service_account.terraform.member
}
