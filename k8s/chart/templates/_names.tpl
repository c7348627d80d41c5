{{/* Names and labels that every object carries. */}}

{{- define "meridian.labels" -}}
{{ include "meridian.selector" . }}
app.kubernetes.io/part-of: meridian
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: regions
meridian.internal/environment: {{ .Values.environment | quote }}
meridian.internal/region: {{ .Values.region | quote }}
{{- end }}

{{/* What selects the workload's pods. A Deployment's selector can never change, so it names nothing that may. */}}
{{- define "meridian.selector" -}}
app.kubernetes.io/name: service
{{- end }}

{{/* The image of one program, pinned by digest, from the packaged chart's own images.yaml. */}}
{{- define "meridian.image" -}}
{{- $file := .root.Files.Get "images.yaml" -}}
{{- if not $file -}}
{{- fail "images.yaml is missing: this is the chart's source, which pins no image. Run `make image`, and render the packaged chart that it leaves in target/images" -}}
{{- end -}}
{{- $image := index (fromYaml $file) .program | default "" -}}
{{- if not (regexMatch "^[^@[:space:]]+@sha256:[0-9a-f]{64}$" $image) -}}
{{- fail (printf "images.yaml: %s must name an image by digest, as REPOSITORY@sha256:<64 digits>; found %q. Run `make image`" .program $image) -}}
{{- end -}}
{{- $image -}}
{{- end }}
