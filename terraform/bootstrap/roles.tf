# What the accounts that apply may do: the services that the modules use, and
# no more.

locals {
  roles = {
    environment = [
      "roles/binaryauthorization.policyEditor",
      "roles/cloudkms.admin",
      "roles/compute.networkAdmin",
      "roles/compute.securityAdmin",
      "roles/container.admin",
      "roles/dns.admin",
      "roles/iam.roleAdmin",
      "roles/iam.serviceAccountAdmin",
      "roles/iam.workloadIdentityPoolAdmin",
      "roles/resourcemanager.projectIamAdmin",
      "roles/serviceusage.serviceUsageAdmin",
      "roles/storage.admin",
    ]
    delivery = [
      "roles/artifactregistry.admin",
      "roles/binaryauthorization.attestorsAdmin",
      "roles/cloudkms.admin",
      "roles/containeranalysis.admin",
      "roles/iam.roleAdmin",
      "roles/iam.serviceAccountAdmin",
      "roles/iam.workloadIdentityPoolAdmin",
      "roles/resourcemanager.projectIamAdmin",
      "roles/serviceusage.serviceUsageAdmin",
    ]
  }
}

# delivery lets each environment read images, and asks for its project's number.
resource "google_project_iam_member" "delivery" {
  for_each = local.environments

  project = module.project[each.key].project
  role    = "roles/browser"
  member  = module.delivery.member
}
