variable "project" {
  description = "Id of the environment's Google project."
  type        = string
}

variable "name" {
  description = "Prefix of the names of what is made."
  type        = string
}

variable "domain" {
  description = "DNS name under which the environment is served."
  type        = string
}

variable "regions" {
  description = <<-EOT
    The regions by name, as module catalogue gives them: the name of each
    one's cluster, which its address has too, its location, the Google region
    whose clients are sent to it, and its labels.
  EOT
  type = map(object({
    cluster  = string
    location = string
    geo      = string
    labels   = optional(map(string), {})
  }))
}

variable "labels" {
  description = "Labels of what belongs to no single region."
  type        = map(string)
  default     = {}
}

variable "source_regions" {
  description = "The three Google regions from which Cloud DNS asks."
  type        = list(string)
  default     = ["us-central1", "europe-west1", "asia-east1"]

  validation {
    condition     = length(distinct(var.source_regions)) == 3
    error_message = "source_regions are ${join(", ", var.source_regions)}; allowed are three that differ."
  }
}

variable "check" {
  description = <<-EOT
    How a region is asked: seconds between two questions of one prober, and for
    an answer; and how many in a row take the region out of the answers, or
    back into them.
  EOT
  type = object({
    interval  = optional(number, 30)
    timeout   = optional(number, 5)
    unhealthy = optional(number, 2)
    healthy   = optional(number, 2)
  })
  default = {}

  validation {
    condition     = var.check.interval >= 30 && var.check.timeout <= var.check.interval
    error_message = "check asks every ${var.check.interval} s and waits ${var.check.timeout} s; allowed are 30 s or more, the least that Google takes from outside, and no longer a wait."
  }
}

variable "ttl" {
  description = "Seconds for which resolvers may keep an answer."
  type        = number
  default     = 30

  validation {
    condition     = var.ttl >= 5 && var.ttl <= 300
    error_message = "ttl is ${var.ttl}; allowed are 5 to 300: it is a part of the time of a fail-over."
  }
}
