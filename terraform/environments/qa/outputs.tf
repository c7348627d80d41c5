output "regions" {
  description = "Each region by name: where it is, and what it is called there."
  value = {
    for name, region in module.region : name => {
      project          = module.catalogue.environment.project
      cluster          = region.cluster
      location         = region.location
      endpoint         = region.endpoint
      nodes_account    = region.nodes_account
      workload_pool    = region.workload_pool
      shutdown_seconds = region.shutdown_seconds
      entry            = module.entry.addresses[name]
    }
  }
}

output "vaults" {
  description = "Each region's Vault by the region's name: address, host, account, key, and where its snapshots go."
  value = {
    for name, vault in module.vault : name => {
      address   = vault.address
      host      = vault.host
      account   = vault.account
      key       = vault.key
      snapshots = vault.snapshots
    }
  }
}

output "vault_values" {
  description = "For `regions bootstrap REGION --vault-values`, by the region's name."
  value       = { for name, vault in module.vault : name => vault.values }
}

output "entry" {
  description = "What the parent zone must delegate to, and the time of a fail-over."
  value = {
    domain           = module.catalogue.environment.domain
    name_servers     = module.entry.name_servers
    failover_seconds = module.entry.failover_seconds
  }
}

output "contexts" {
  description = <<-EOT
    What CircleCI's contexts of this environment must hold, beside VAULT_CA:
    the certificates that vouch for its Vaults. None of it is secret.
  EOT
  value = {
    for job, account in try(module.deployer[0].accounts, {}) :
    "meridian-${module.catalogue.environment.name}${job == "promoter" ? "" : "-${job}"}" => {
      IMAGE_REPOSITORY       = "${module.platform.registry.host}/${module.platform.registry.project}/${module.platform.registry.own}"
      GOOGLE_PROVIDER        = module.deployer[0].provider
      GOOGLE_SERVICE_ACCOUNT = account
    }
  }
}

output "access" {
  description = "What the pipeline's jobs may do in each cluster: for `kubectl apply`."
  value       = try(module.deployer[0].access, { apiVersion = "v1", kind = "List", items = [] })
}
