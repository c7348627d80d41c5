{{/*
The secrets agent, as a native sidecar: it starts before the service and ends after it. Each variable is a key
of its configuration: `secrets-agent --help`.
*/}}
{{- define "meridian.agent" -}}
name: secrets-agent
image: {{ include "meridian.image" (dict "root" . "program" "secrets-agent") }}
imagePullPolicy: IfNotPresent
restartPolicy: Always
env:
  - name: AGENT__VAULT__ADDRESS
    value: {{ include "meridian.vaultAddress" . | quote }}
  - name: AGENT__LOG__FORMAT
    value: json
ports:
  - { name: agent, containerPort: 9091, protocol: TCP }
# The service starts once the agent listens. It may wait for Vault for as long as that takes: the agent never
# ends because Vault is away, so this asks for the process alone, and the service's own readiness for secrets.
startupProbe:
  httpGet: { path: /livez, port: agent }
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /livez, port: agent }
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
resources:
  requests: { cpu: 20m, memory: 16Mi }
  limits: { cpu: 250m, memory: 64Mi }
securityContext: {{- include "meridian.containerSecurity" . | nindent 2 }}
volumeMounts:
  - { name: socket, mountPath: /run/meridian }
  - { name: vault-token, mountPath: /var/run/secrets/meridian/vault, readOnly: true }
  - { name: vault-ca, mountPath: /etc/meridian/vault-ca, readOnly: true }
  - { name: secrets-floor, mountPath: /etc/meridian/secrets-floor, readOnly: true }
{{- end }}
