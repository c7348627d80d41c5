output "regions" {
  description = "Each region by name: where it is, and what it is called there."
  value = {
    for name, region in module.region : name => {
      project       = module.catalogue.environment.project
      cluster       = region.cluster
      location      = region.location
      endpoint      = region.endpoint
      nodes_account = region.nodes_account
      workload_pool = region.workload_pool
    }
  }
}
