output "contexts" {
  description = "What CircleCI's context for the jobs that build must hold. None of it is secret."
  value = {
    meridian-registry = {
      IMAGE_REPOSITORY       = module.delivery.repository
      GOOGLE_PROVIDER        = module.delivery.provider
      GOOGLE_SERVICE_ACCOUNT = module.delivery.account
      ATTESTOR               = module.delivery.attestor
      SIGNING_KEY            = module.delivery.attestor_key
    }
  }
}

output "attestor" {
  description = "The attestor, and the version of the key with which the pipeline attests."
  value = {
    name = module.delivery.attestor
    key  = module.delivery.attestor_key
  }
}
