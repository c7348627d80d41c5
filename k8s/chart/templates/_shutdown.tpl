{{/*
The end of a pod, in seconds. A spot node gives 15 s in all.

  0         SIGTERM: the service is not ready any more, and still serves new connections
  8         it closes connections as they fall idle
  12        it has ended; the kubelet sends SIGTERM to the agent
  14        what is left is killed
*/}}
{{- define "meridian.shutdown" -}}
accept: 8
drain: 4
agent: 2
{{- end }}

{{- define "meridian.gracePeriod" -}}
{{- $s := include "meridian.shutdown" . | fromYaml -}}
{{- add (int $s.accept) (int $s.drain) (int $s.agent) -}}
{{- end }}
