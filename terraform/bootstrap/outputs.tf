output "projects" {
  description = "Each environment and delivery: project, number, bucket of the state, and the account that applies."
  value = {
    for name, project in merge(module.project, { delivery = module.delivery }) : name => {
      project      = project.project
      number       = project.number
      state_bucket = project.state_bucket
      account      = project.account
    }
  }
}
