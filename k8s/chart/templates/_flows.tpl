{{/* Flows that several NetworkPolicies allow. */}}

{{/* DNS: the cluster's pods, or what listens on the node's link-local addresses. */}}
{{- define "meridian.toDns" -}}
to:
  - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: kube-system } }
    podSelector:
      matchExpressions:
        - { key: k8s-app, operator: In, values: [kube-dns, node-local-dns] }
  - ipBlock: { cidr: 169.254.20.10/32 }
  - ipBlock: { cidr: 169.254.169.254/32 }
ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- end }}

{{/* Addresses of the region's nodes, and of what Google puts beside them: the first 64th of the range. */}}
{{- define "meridian.nodes" -}}
{{- $range := splitList "/" .Values.range -}}
{{ first $range }}/{{ add 6 (last $range) }}
{{- end }}

{{/*
This region's Vault: pods of its own namespace, an address of its nodes' network, or the one that the catalogue
names. Behind a name of the catalogue's any address may stand: there the CA alone decides.
*/}}
{{- define "meridian.toVault" -}}
{{- $vault := urlParse (include "meridian.vaultAddress" .) }}
{{- $parts := regexSplit ":" $vault.host -1 }}
{{- $host := first $parts }}
{{- $port := 443 }}
{{- if gt (len $parts) 1 }}{{ $port = last $parts | int }}{{ end }}
{{- $named := (include "meridian.key" (dict "root" . "key" "vault") | fromJson).address -}}
to:
  - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: vault } }
  {{- if regexMatch "^[0-9.]+$" $host }}
  - ipBlock: { cidr: {{ $host }}/32 }
  {{- else if $named }}
  - ipBlock: { cidr: 0.0.0.0/0 }
  {{- else }}
  - ipBlock: { cidr: {{ include "meridian.nodes" . }} }
  {{- end }}
ports:
  - { protocol: TCP, port: {{ $port }} }
  {{- if ne $port 8200 }}
  # Policies see the pod's own port, behind whatever port a Service shows.
  - { protocol: TCP, port: 8200 }
  {{- end }}
{{- end }}
