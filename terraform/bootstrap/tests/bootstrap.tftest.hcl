# Needs no credentials: nothing of Google is called. Nothing is applied either,
# since what must not be destroyed could not be taken away after the test.
mock_provider "google" {
  override_during = plan

  mock_resource "google_service_account" {
    defaults = { email = "terraform@example.iam.gserviceaccount.com" }
  }
}

run "makes_a_project_for_each_environment_and_for_delivery" {
  command = plan

  assert {
    condition = toset(keys(output.projects)) == setunion(["delivery"], [
      for file in fileset("../../regions/catalogue", "*/_environment.yaml") : dirname(file)
    ])
    error_message = jsonencode(keys(output.projects))
  }
  assert {
    condition = (
      length(distinct([for project in output.projects : project.project])) == length(output.projects) &&
      length(distinct([for project in output.projects : project.state_bucket])) == length(output.projects)
    )
    error_message = "no two share a project or a state: ${jsonencode(output.projects)}"
  }
}
