{{/* The alerts of alerts.yaml as rule groups, with the catalogue's numbers in them. */}}
{{- define "meridian.alerts" -}}
{{- $root := . -}}
{{- $limit := include "meridian.seconds" .Values.gates.latency_p99 | float64 -}}
{{- $words := list
    (list "$ours" (printf "namespace=%q" .Release.Namespace))
    (list "$error_ratio" (toString .Values.gates.error_ratio))
    (list "$latency" (toString (minf $limit 2.5)))
    (list "$min" (toString (int .Values.workload.min)))
    (list "$max" (toString (int .Values.workload.max))) -}}
{{- $groups := list -}}
{{- range $group := (.Files.Get "alerts.yaml" | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $alert := $group.rules -}}
{{- $said := dict -}}
{{- range $key := list "expr" "summary" "runbook" -}}
{{- $text := get $alert $key -}}
{{- range $words }}{{ $text = replace (first .) (last .) $text }}{{ end -}}
{{- $_ := set $said $key $text -}}
{{- end -}}
{{- $labels := dict "severity" $alert.severity "environment" $root.Values.environment "region" $root.Values.region -}}
{{- $annotations := dict "summary" $said.summary "runbook" $said.runbook -}}
{{- $rule := dict "alert" $alert.alert "expr" $said.expr "for" $alert.for "labels" $labels "annotations" $annotations -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- $groups = append $groups (dict "name" $group.name "interval" "30s" "rules" $rules) -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end }}

{{/* A duration of the catalogue in seconds. */}}
{{- define "meridian.seconds" -}}
{{- $count := regexFind "^[0-9]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- mulf $count (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) $unit) -}}
{{- end }}
