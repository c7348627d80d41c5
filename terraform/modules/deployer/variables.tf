variable "project" {
  description = "Id of the environment's Google project."
  type        = string
}

variable "pipeline" {
  description = <<-EOT
    Who deploys, as module catalogue gives it: the id of CircleCI's
    organisation and project, the issuer of their tokens, and the ids of the
    contexts of the jobs that promote and, if any do, of those that rotate.
  EOT
  type = object({
    organisation = string
    project      = string
    issuer       = string
    contexts = object({
      promoter = string
      rotator  = optional(string)
    })
  })
}

variable "successor" {
  description = <<-EOT
    Google project of the environment to which releases go next. The account of
    its jobs that promote is let read what has run healthily here; it must
    exist. Null where there is none.
  EOT
  type        = string
  default     = null
}

variable "vault_namespaces" {
  description = "Namespaces in which Vault runs, over all regions."
  type        = set(string)
  default     = ["vault"]
}

variable "namespace" {
  description = "Namespace of the workload."
  type        = string
  default     = "meridian"
}
