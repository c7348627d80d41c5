{{/*
Where pods go. Zones and hosts are preferences: a pod that could not be placed would be worse than one that is
placed second best. The share of spot nodes is not: with the preference for other nodes and at most two pods more
there than in any spot pool, the first two pods are off spot, the next are shared. k8s/tests shows it with the
real scheduler. A pool without nodes does not count.
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
  {{- if include "meridian.spot" . }}
  # Every node carries this label: it is the name of its pool in the catalogue.
  - topologyKey: meridian.internal/pool
    maxSkew: 2
    whenUnsatisfiable: DoNotSchedule
    nodeTaintsPolicy: Honor
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "meridian.selector" . | nindent 8 }}
  {{- end }}
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
