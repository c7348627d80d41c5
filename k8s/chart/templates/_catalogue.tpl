{{/* What the catalogue says about this region, read as `regions` and Terraform read it. */}}

{{/* One of a region's keys as JSON: the region's own, else the environment's default, whole. */}}
{{- define "meridian.key" -}}
{{- $own := index .root.Values .key -}}
{{- $default := index (.root.Values.defaults | default dict) .key -}}
{{- if hasKey .root.Values .key }}{{ $own | toJson }}{{ else }}{{ $default | toJson }}{{ end -}}
{{- end }}

{{/* Where this region's Vault is: an https URL. */}}
{{- define "meridian.vaultAddress" -}}
{{- $vault := include "meridian.key" (dict "root" . "key" "vault") | fromJson -}}
{{- $vault.address | default (printf "https://vault.%s.%s:8200" .Values.region .Values.domain) -}}
{{- end }}

{{/* "true" when some pool of the region is made of spot nodes. */}}
{{- define "meridian.spot" -}}
{{- range include "meridian.key" (dict "root" . "key" "pools") | fromJson -}}
{{- if .spot }}true{{ end -}}
{{- end -}}
{{- end }}

{{/* Who reads metrics and watches over alerts: "google", "operator" or nothing. */}}
{{- define "meridian.monitoring" -}}
{{- $who := include "meridian.key" (dict "root" . "key" "monitoring") | trimAll "\"" -}}
{{- if has $who (list "google" "operator") }}{{ $who }}{{ end -}}
{{- end }}

{{/* The namespace from which they are read. */}}
{{- define "meridian.collectors" -}}
{{- get (dict "google" "gmp-system" "operator" "monitoring") (include "meridian.monitoring" .) -}}
{{- end }}

{{/* What the schema cannot say about two values together. `regions validate` says more, and all at once. */}}
{{- define "meridian.check" -}}
{{- $values := .Values -}}
{{- if gt (int $values.workload.min) (int $values.workload.max) -}}
{{- fail (printf "workload: min %v is above max %v" $values.workload.min $values.workload.max) -}}
{{- end -}}
{{- if not (has $values.wave $values.waves) -}}
{{- fail (printf "wave: %s is none of the environment's waves (%s)" $values.wave (join ", " $values.waves)) -}}
{{- end -}}
{{- $fallback := 0 -}}
{{- range $name, $pool := include "meridian.key" (dict "root" . "key" "pools") | fromJson -}}
{{- if gt (int $pool.min) (int $pool.max) -}}
{{- fail (printf "pools.%s: min %v is above max %v" $name $pool.min $pool.max) -}}
{{- end -}}
{{- if not $pool.spot }}{{ $fallback = add $fallback (int $pool.max) }}{{ end -}}
{{- end -}}
{{- if lt $fallback 2 -}}
{{- fail (printf "pools: the pools that are not spot hold %d nodes at most; 2 are needed, where two replicas stay when spot nodes are taken away" $fallback) -}}
{{- end -}}
{{- end }}
