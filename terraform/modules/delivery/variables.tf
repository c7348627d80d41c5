variable "project" {
  description = "Id of the Google project that environments share."
  type        = string
}

variable "registry" {
  description = <<-EOT
    The registry, as module platform gives it: its location, and the names of
    the repository of our own images and of the mirror of Docker Hub.
  EOT
  type = object({
    location = string
    own      = string
    mirror   = string
  })
}

variable "attestor" {
  description = "Name of the attestor."
  type        = string
  default     = "pipeline"
}

variable "pipeline" {
  description = <<-EOT
    Whose jobs may push: the id of CircleCI's organisation and project, and the
    issuer of their tokens.
  EOT
  type = object({
    organisation = string
    project      = string
    issuer       = string
  })
}

variable "readers" {
  description = <<-EOT
    Numbers of the projects whose accounts may read images, and whose clusters
    may have attestations verified, by the environment's name.
  EOT
  type        = map(string)
}

variable "labels" {
  description = "Labels of everything that takes labels."
  type        = map(string)
  default     = {}
}

variable "untagged_days" {
  description = "Days after which a version without a tag is deleted."
  type        = number
  default     = 30

  validation {
    condition     = var.untagged_days >= 1 && floor(var.untagged_days) == var.untagged_days
    error_message = "untagged_days is ${var.untagged_days}; allowed is a whole number from 1."
  }
}
