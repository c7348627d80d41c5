{{/*
Where pods go. Nodes that are paid for anyway come first, so that two replicas are off spot nodes; what scales
beyond them spreads over hosts and zones, spot nodes included. Everything here is a preference: a pod that
could not be placed would be worse than one that is placed second best.
*/}}
{{- define "meridian.scheduling" -}}
tolerations:
  {{- if include "meridian.spot" . }}
  - { key: cloud.google.com/gke-spot, operator: Equal, value: "true", effect: NoSchedule }
  {{- end }}
  # A node that does not answer loses its pods after half a minute instead of five.
  - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }
  - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }
{{- if include "meridian.spot" . }}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
            - { key: cloud.google.com/gke-spot, operator: NotIn, values: ["true"] }
{{- end }}
topologySpreadConstraints:
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    nodeTaintsPolicy: Honor
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "meridian.selector" . | nindent 8 }}
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    nodeTaintsPolicy: Honor
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "meridian.selector" . | nindent 8 }}
{{- end }}
