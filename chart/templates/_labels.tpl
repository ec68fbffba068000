{{/*
Labels. The two selector labels are frozen: a Deployment's selector cannot change. Everything else is metadata, and
no object selects pods of another group by them.
*/}}

{{/* (dict "root" $ "name" name): what a Deployment selects its pods by. */}}
{{- define "exastro-agent.selectorLabels" -}}
app.kubernetes.io/name: {{ .name | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}

{{/* Takes the root: what Service, monitors, NetworkPolicy and disruption budget find all agents of a release by. */}}
{{- define "exastro-agent.releaseLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/part-of: {{ include "exastro-agent.base" (index .Values "ita-ag-oase") | quote }}
app.kubernetes.io/component: agent
{{- end }}

{{/* (dict "root" $ "name" name "extra" labels): labels of an object. The chart's own go before the user's. */}}
{{- define "exastro-agent.labels" -}}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- $own := dict "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63) }}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | trunc 63) }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set $own "app.kubernetes.io/part-of" (include "exastro-agent.base" $v) }}
{{- $own = merge $own (include "exastro-agent.selectorLabels" . | fromYaml) }}
{{- include "exastro-agent.strings" (list $own .extra $v.commonLabels) }}
{{- end }}

{{/* (dict "root" $ "group" group "component" name): labels of a pod. `pod` finds the pods that share a volume. */}}
{{- define "exastro-agent.podLabels" -}}
{{- $name := .group.name }}
{{- if ne .component "agent" }}{{ $name = include "exastro-agent.label" (list $name .component) }}{{ end }}
{{- $own := include "exastro-agent.selectorLabels" (dict "root" .root "name" $name) | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/part-of" (include "exastro-agent.base" (index .root.Values "ita-ag-oase")) }}
{{- $_ := set $own "app.kubernetes.io/component" .component }}
{{- $_ := set $own "exastro-agent/pod" .group.name }}
{{- include "exastro-agent.strings" (list $own .group.settings.podLabels .group.settings.commonLabels) }}
{{- end }}

{{/* (list map map …): all entries as YAML with text values; an earlier map goes before a later one. */}}
{{- define "exastro-agent.strings" -}}
{{- $all := dict }}
{{- range $map := . }}
{{- range $key, $value := $map | default dict }}
{{- if not (or (hasKey $all $key) (kindIs "invalid" $value)) }}
{{- $_ := set $all $key (include "exastro-agent.text" $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $all }}{{ toYaml $all }}{{ end }}
{{- end }}

{{/* (list map map …): an `annotations:` block, or nothing if all maps are empty. */}}
{{- define "exastro-agent.annotations" -}}
{{- with include "exastro-agent.strings" . -}}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
