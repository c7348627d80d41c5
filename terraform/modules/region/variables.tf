variable "project" {
  description = "Id of the environment's Google project."
  type        = string
}

variable "project_number" {
  description = "Number of that project, of which Google's own accounts are named."
  type        = string
}

variable "operator" {
  description = "The account that applies Terraform, as rights name it."
  type        = string
}

variable "region" {
  description = <<-EOT
    The region, as module catalogue gives it: the name of its cluster, the id
    of its nodes' service account, its location, the letters of its zones
    (empty: Google chooses), its labels, when Google may maintain it, and its
    node pools by name: machine type, least and most nodes over all zones, and
    whether Google may take the nodes away at any time.
  EOT
  type = object({
    cluster       = string
    nodes_account = string
    location      = string
    zones         = optional(list(string), [])
    labels        = optional(map(string), {})
    maintenance = object({
      start      = string
      end        = string
      recurrence = string
    })
    pools = map(object({
      machine = string
      min     = number
      max     = number
      spot    = optional(bool, false)
    }))
  })

  validation {
    condition     = length(var.region.cluster) <= 40
    error_message = "region.cluster is `${var.region.cluster}`, ${length(var.region.cluster)} characters; allowed are at most 40."
  }
  validation {
    condition     = length(var.region.nodes_account) >= 6 && length(var.region.nodes_account) <= 30
    error_message = "region.nodes_account is `${var.region.nodes_account}`, ${length(var.region.nodes_account)} characters; allowed are 6 to 30."
  }
  validation {
    condition     = length([for pool in var.region.pools : pool if !pool.spot && pool.max > 0]) > 0
    error_message = "region.pools has spot pools alone; allowed is at least one pool that is not spot, for what must stay when spot nodes are taken away."
  }
}

variable "network" {
  description = "Id of the environment's network."
  type        = string
}

variable "subnetwork" {
  description = <<-EOT
    The region's subnetwork: its id, and the names of its secondary ranges for
    pods and services.
  EOT
  type = object({
    id       = string
    pods     = string
    services = string
  })
}

variable "release_channel" {
  description = "Release channel of Google Kubernetes Engine: RAPID, REGULAR or STABLE."
  type        = string
  default     = "REGULAR"

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE"], var.release_channel)
    error_message = "release_channel is `${var.release_channel}`; allowed are RAPID, REGULAR, STABLE."
  }
}

variable "deletion_protection" {
  description = <<-EOT
    Whether Terraform refuses to destroy the cluster. Before a region is
    removed this is set to false, applied, and only then the region goes.
  EOT
  type        = bool
  default     = true
}
