{{/* The service's container. Each variable is a key of its configuration: `service --help`. */}}
{{- define "meridian.service" -}}
name: service
image: {{ include "meridian.image" (dict "root" . "program" "service") }}
imagePullPolicy: IfNotPresent
env:
  - name: SERVICE__IDENTITY__ENVIRONMENT
    value: {{ .Values.environment | quote }}
  - name: SERVICE__IDENTITY__REGION
    value: {{ .Values.region | quote }}
  # Kubernetes 1.35 and newer give pods this label as they are placed; elsewhere the zone is not known.
  - name: SERVICE__IDENTITY__ZONE
    valueFrom: { fieldRef: { fieldPath: "metadata.labels['topology.kubernetes.io/zone']" } }
  - name: SERVICE__IDENTITY__POD
    valueFrom: { fieldRef: { fieldPath: metadata.name } }
  - name: SERVICE__IDENTITY__RELEASE
    valueFrom: { fieldRef: { fieldPath: "metadata.annotations['meridian.internal/release']" } }
  - name: SERVICE__AGENT__SOCKET
    value: /run/meridian/agent.sock
  - name: SERVICE__TRAFFIC__DIR
    value: /etc/meridian/traffic
  # One issuer for all regions of an environment; the document kv/service/config may change it.
  - name: SERVICE__OAUTH__ISSUER
    value: {{ printf "https://%s" .Values.domain | quote }}
  - name: SERVICE__CEILINGS__TOKEN_LIFE
    value: {{ .Values.ceilings.token_life | quote }}
  - name: SERVICE__CEILINGS__JWKS_MAX_AGE
    value: {{ .Values.ceilings.jwks_max_age | quote }}
  - name: SERVICE__CEILINGS__LEEWAY
    value: {{ .Values.ceilings.leeway | quote }}
  - name: SERVICE__CEILINGS__SKEW
    value: {{ .Values.ceilings.skew | quote }}
  {{- $shutdown := include "meridian.shutdown" . | fromYaml }}
  - name: SERVICE__SHUTDOWN__ACCEPT_FOR
    value: {{ printf "%vs" $shutdown.accept | quote }}
  - name: SERVICE__SHUTDOWN__DRAIN_FOR
    value: {{ printf "%vs" $shutdown.drain | quote }}
  - name: SERVICE__LOG__FORMAT
    value: json
ports:
  - { name: public, containerPort: 8443, protocol: TCP }
  - { name: admin, containerPort: 9090, protocol: TCP }
# The process answers within milliseconds; half a minute is for a node that is busy pulling images.
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 30
# Not ready before the first valid secrets, and at once not ready on SIGTERM.
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  timeoutSeconds: 1
  failureThreshold: 2
# Only a process that is stuck is restarted: /livez asks for nothing outside the process.
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
# Measured: 11 MiB after a load over 64 connections (bench/results), and 21 kB for each idle one, of which the service
# takes 8,000 at most: 180 MiB. 8 µs of processor time a request, so that the autoscaler's 70 % of what is requested
# here are reached at some thousand requests a second.
resources:
  requests: { cpu: 100m, memory: 64Mi }
  limits: { cpu: "1", memory: 384Mi }
securityContext: {{- include "meridian.containerSecurity" . | nindent 2 }}
volumeMounts:
  - { name: socket, mountPath: /run/meridian, readOnly: true }
  # A folder and not a file: the kubelet swaps folders, so that a drain is seen.
  - { name: traffic, mountPath: /etc/meridian/traffic, readOnly: true }
{{- end }}

{{- define "meridian.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}
