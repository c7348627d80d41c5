{{/* Names and labels that every object carries. */}}

{{/* Labels of an object: (dict "root" . "name" NAME), by the name of what it belongs to. */}}
{{- define "meridian.labelsOf" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: meridian
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: regions
meridian.internal/environment: {{ .root.Values.environment | quote }}
meridian.internal/region: {{ .root.Values.region | quote }}
{{- end }}

{{- define "meridian.labels" -}}
{{ include "meridian.labelsOf" (dict "root" . "name" "service") }}
{{- end }}

{{/* What selects the workload's pods. A Deployment's selector can never change, so it names nothing that may. */}}
{{- define "meridian.selector" -}}
app.kubernetes.io/name: service
{{- end }}

{{/* The same of the watcher. */}}
{{- define "meridian.watcherLabels" -}}
{{ include "meridian.labelsOf" (dict "root" . "name" "watcher") }}
{{- end }}

{{- define "meridian.watcherSelector" -}}
app.kubernetes.io/name: watcher
{{- end }}

{{/* The fence's name, the same nowhere else: it is an object of the whole cluster. */}}
{{- define "meridian.fence" -}}
fence.{{ .Release.Namespace }}.meridian.internal
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
