{{/*
(dict "root" $ "group" group): the count to render, or nothing. Nothing is the default: then `kubectl scale` alone
decides, and an upgrade leaves 0 at 0. A count in the values gives way to 0 in the cluster for the same reason.
*/}}
{{- define "exastro-agent.replicas" -}}
{{- $s := .group.settings }}
{{- if not (kindIs "invalid" $s.replicas) }}
{{- if and (ne (toString $s.keepScaledToZero) "false") (eq "true" (include "exastro-agent.isAtZero" .)) }}0
{{- else }}{{ int $s.replicas }}
{{- end }}
{{- end }}
{{- end }}

{{/* (dict "root" $ "group" group): "true" if the Deployment is there and scaled to 0. */}}
{{- define "exastro-agent.isAtZero" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .group.name }}
{{- if $live }}{{ eq 0 (dig "spec" "replicas" 1 $live | int) }}{{ end }}
{{- end }}

{{/*
(dict "root" $ "group" group): the strategy. Stop before start, as two pods would poll the same sources; pods that share
go one by one, and what one hands over the others take. Only from pods that do not share to pods that do, all of the old
ones go first: as long as one of them holds the volume, no new one becomes ready. Recreate knows no rollingUpdate.
*/}}
{{- define "exastro-agent.strategy" -}}
{{- $strategy := .group.settings.strategy | default (dict "rollingUpdate" (dict "maxSurge" 0 "maxUnavailable" 1)) }}
{{- if and (eq "true" .group.shares) (eq "true" (include "exastro-agent.isAlone" .)) }}
{{- $strategy = set (deepCopy $strategy) "rollingUpdate" (dict "maxSurge" 0 "maxUnavailable" "100%") }}
{{- end }}
{{- if eq (toString $strategy.type) "Recreate" }}{{ $strategy = omit $strategy "rollingUpdate" }}{{ end }}
{{- merge (dict "type" ($strategy.type | default "RollingUpdate")) $strategy | toYaml }}
{{- end }}
