variable "project" {
  description = "Id of the environment's Google project."
  type        = string
}

variable "registry" {
  description = <<-EOT
    Where images come from, as module platform gives it: host, project, and the
    repositories own and mirror.
  EOT
  type = object({
    host    = string
    project = string
    own     = string
    mirror  = string
  })
}

variable "attestor" {
  description = "The attestor of what the pipeline built: its project and name."
  type = object({
    project = string
    name    = string
  })
}

variable "attested" {
  description = <<-EOT
    Whether our own images need an attestation. While the pipeline makes none,
    it is enough that they come from our repository, into which it alone
    pushes.
  EOT
  type        = bool
  default     = true
}
