variable "project" {
  description = "Id of the environment's Google project."
  type        = string
}

variable "region" {
  description = <<-EOT
    The region, as module catalogue gives it: the name of its cluster, its
    location, the letters of its zones (empty: Google chooses), its labels, and
    its Vault: ids of the accounts of the servers and of what takes snapshots,
    the namespace and the name of its Service, and its host's DNS name.
  EOT
  type = object({
    cluster  = string
    location = string
    zones    = optional(list(string), [])
    labels   = optional(map(string), {})
    vault = object({
      account           = string
      snapshots_account = string
      namespace         = string
      name              = string
      host              = string
    })
  })

  validation {
    condition = alltrue([
      for account in [var.region.vault.account, var.region.vault.snapshots_account] :
      length(account) >= 6 && length(account) <= 30
    ])
    error_message = "region.vault has the accounts `${var.region.vault.account}` and `${var.region.vault.snapshots_account}`; allowed are 6 to 30 characters each."
  }
}

variable "cluster" {
  description = "Full name of the region's cluster."
  type        = string
}

variable "nodes_account" {
  description = "E-mail address of the nodes' service account."
  type        = string
}

variable "key_ring" {
  description = "Id of the region's key ring."
  type        = string
}

variable "unseal_role" {
  description = "Name of the role with the rights that auto-unseal needs of its key."
  type        = string
}

variable "network" {
  description = "Id of the environment's network."
  type        = string
}

variable "subnetwork" {
  description = "Id of the region's subnetwork, in which the address is."
  type        = string
}

variable "image" {
  description = "Where Vault's image is pulled from, without a tag: the chart knows which."
  type        = string
}

variable "machine" {
  description = "Machine type of the nodes."
  type        = string
  default     = "e2-standard-2"
}

variable "snapshot_days" {
  description = "Days for which a snapshot is kept; a week of them nobody can delete it."
  type        = number
  default     = 35

  validation {
    condition     = var.snapshot_days >= 7 && floor(var.snapshot_days) == var.snapshot_days
    error_message = "snapshot_days is ${var.snapshot_days}; allowed is a whole number from 7."
  }
}
