variable "project" {
  description = "Id of the environment's Google project."
  type        = string
}

variable "name" {
  description = "Name of the network, and prefix of the names of what is in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,38}[a-z0-9]$", var.name))
    error_message = "name is `${var.name}`; allowed are 2 to 40 small letters, digits and hyphens, a letter first, no hyphen at the end."
  }
}

variable "regions" {
  description = <<-EOT
    The regions by name, as module catalogue gives them: the location of each
    and the ranges of its nodes, services and pods.
  EOT
  type = map(object({
    location = string
    subnets = object({
      nodes    = string
      services = string
      pods     = string
    })
  }))
}
