{{/*
Names. They are those of the chart exastro-agent 2.7, because selectors and claims must stay as they are:
Deployment `<base>`, claim `pvc-<base>`, ConfigMap `params-<base>-<agent>`, Secret `secret-<base>-<agent>`.
*/}}

{{/* Takes the values under ita-ag-oase. Cut as 2.7 did it: the selector depends on it. */}}
{{- define "exastro-agent.base" -}}
{{- include "exastro-agent.slug" (toString (.nameOverride | default "ita-ag-oase") | trunc 63 | trimSuffix "-") }}
{{- end }}

{{/* `text` as a DNS label. One that is not a label gets a hash, so that `Agent_1` and `agent-1` stay apart. */}}
{{- define "exastro-agent.slug" -}}
{{- if regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" . }}{{ . }}
{{- else }}
{{- $words := regexReplaceAll "[^a-z0-9]+" (lower .) "-" | trimAll "-" }}
{{- printf "%s-%s" $words (sha256sum . | trunc 8) | trimPrefix "-" }}
{{- end }}
{{- end }}

{{/* (list text max): `text`, or its start and a hash of the whole if it has more than `max` characters. */}}
{{- define "exastro-agent.fit" -}}
{{- $text := index . 0 }}
{{- $max := int (index . 1) }}
{{- if le (len $text) $max }}{{ $text }}
{{- else }}{{ printf "%s-%s" ($text | trunc (int (sub $max 9)) | trimSuffix "-") (sha256sum $text | trunc 8) }}
{{- end }}
{{- end }}

{{/* (list part part …): the parts with dashes between them as one DNS label. */}}
{{- define "exastro-agent.label" -}}
{{- include "exastro-agent.fit" (list (include "exastro-agent.slug" (join "-" .)) 63) }}
{{- end }}

{{/* (list owner use): `volume-<owner>-<use>`, at most 63 characters whatever the owner's name is. */}}
{{- define "exastro-agent.volume" -}}
{{- printf "volume-%s-%s" (include "exastro-agent.fit" (list (index . 0) 48)) (index . 1) }}
{{- end }}

{{/*
(dict "root" $ "image" image): the repository of an agent. The package of 2.7 stands for this agent's own image, so
that a values file of 2.7 need not be touched.
*/}}
{{- define "exastro-agent.repository" -}}
{{- if .image.repository }}{{ .image.repository }}
{{- else }}
{{- $from := ((.root.Values.global | default dict).agentGlobalDefinition | default dict).image | default dict }}
{{- $usual := dict "registry" "docker.io" "organization" "exastro" "package" "exastro-it-automation" }}
{{- $from = include "exastro-agent.merge" (list $usual $from) | fromJson }}
{{- $isOwn := eq $from.package $usual.package }}
{{- $name := ternary "oase-agent" (printf "%s-ag-oase" $from.package) $isOwn }}
{{- list $from.registry $from.organization $name | compact | join "/" }}
{{- end }}
{{- end }}

{{/* (dict "root" $ "image" image): the full image of an agent. A digest goes before the chart's default tag. */}}
{{- define "exastro-agent.image" -}}
{{- $tag := .image.tag }}
{{- if not (or $tag .image.digest) }}{{ $tag = .root.Chart.AppVersion }}{{ end }}
{{- include "exastro-agent.repository" . }}{{ with $tag }}:{{ . }}{{ end }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The name of the account that the pods run as. */}}
{{- define "exastro-agent.account" -}}
{{- $v := index .Values "ita-ag-oase" }}
{{- $made := ternary (include "exastro-agent.base" $v) "default" (eq "true" (include "exastro-agent.makesAccount" $v)) }}
{{- ($v.serviceAccount | default dict).name | default $made }}
{{- end }}

{{/* Takes the values under ita-ag-oase: "true" if the chart makes the account; `auto` if one is needed and none named. */}}
{{- define "exastro-agent.makesAccount" -}}
{{- $account := .serviceAccount | default dict }}
{{- $create := toString $account.create }}
{{- if has $create (list "true" "false") }}{{ $create }}
{{- else }}{{ and (empty $account.name) (eq "true" (include "exastro-agent.isCoordinated" .)) }}
{{- end }}
{{- end }}
