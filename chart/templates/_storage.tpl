{{/* Takes settings of a store: the storage class line. "-" is no class, empty leaves it to the cluster, as in 2.7. */}}
{{- define "exastro-agent.class" -}}
{{- with .storageClass }}storageClassName: {{ ternary "" . (eq . "-") | quote }}{{ end }}
{{- end }}

{{/*
Takes settings of a store: the claim's selector. 2.7 renders matchLabels and matchExpressions only together; so it
stays, because a claim's selector cannot change and documented values rely on it. `selector` is taken as it is.
*/}}
{{- define "exastro-agent.selector" -}}
{{- if .selector }}{{ toYaml .selector }}
{{- else if and .matchLabels .matchExpressions }}{{ pick . "matchLabels" "matchExpressions" | toYaml }}
{{- end }}
{{- end }}

{{/* Takes a store: the folder of its hostPath volume. */}}
{{- define "exastro-agent.hostPath" -}}
{{- $path := (.settings.hostPath | default dict).path }}
{{- $path | default (printf "/var/data/exastro-suite/exastro-agent/%s" .owner) }}
{{- end }}

{{/* Takes a group: "true" if a claim that the chart makes may be mounted by one pod only. */}}
{{- define "exastro-agent.isExclusive" -}}
{{- $isExclusive := false }}
{{- range .stores }}
{{- if and .claim (eq (toString .settings.accessMode) "ReadWriteOncePod") }}{{ $isExclusive = true }}{{ end }}
{{- end }}
{{- $isExclusive }}
{{- end }}
