{{/*
The watcher of the region: `regions watch`. Each variable is one of its flags: `regions watch --help`.
*/}}
{{- define "meridian.watcher" -}}
name: watcher
image: {{ include "meridian.image" (dict "root" . "program" "regions") }}
imagePullPolicy: IfNotPresent
args: [watch]
env:
  - name: WATCH_NAME
    valueFrom: { fieldRef: { fieldPath: metadata.name } }
  - name: WATCH_ENVIRONMENT
    value: {{ .Values.environment | quote }}
  - name: WATCH_REGION
    value: {{ .Values.region | quote }}
  - name: WATCH_SECRETS
    value: {{ .Values.secrets | keys | sortAlpha | join "," | quote }}
  - name: WATCH_VAULT_ADDRESS
    value: {{ include "meridian.vaultAddress" . | quote }}
  - name: WATCH_VAULT_CA_FILE
    value: /etc/meridian/vault-ca/ca.crt
  - name: WATCH_VAULT_JWT_FILE
    value: /var/run/secrets/meridian/vault/token
  - name: WATCH_VAULT_ROLE
    value: watcher
  - name: WATCH_LISTEN
    value: 0.0.0.0:9092
ports:
  - { name: watcher, containerPort: 9092, protocol: TCP }
startupProbe:
  httpGet: { path: /livez, port: watcher }
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 30
# Ready once it has looked at the region: who asks the Service is answered by one that can see the pods.
readinessProbe:
  httpGet: { path: /readyz, port: watcher }
  periodSeconds: 5
  timeoutSeconds: 2
  failureThreshold: 3
livenessProbe:
  httpGet: { path: /livez, port: watcher }
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
resources:
  requests: { cpu: 20m, memory: 32Mi }
  limits: { cpu: 500m, memory: 128Mi }
securityContext: {{- include "meridian.containerSecurity" . | nindent 2 }}
volumeMounts:
  - { name: vault-token, mountPath: /var/run/secrets/meridian/vault, readOnly: true }
  - { name: vault-ca, mountPath: /etc/meridian/vault-ca, readOnly: true }
{{- end }}
