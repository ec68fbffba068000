{{/*
Every refusal: one message that lists all faults, each with the key and the remedy. Types and allowed words are in
values.schema.json. Rules that ask the cluster are in _validate_cluster.tpl; `helm template` has no cluster, so they
pass there.
*/}}
{{- define "exastro-agent.validate" -}}
{{- $model := include "exastro-agent.model" . | fromJson }}
{{- $faults := list }}
{{- range list "release" "names" "options" "files" "agents" "overlap" "replicas" "claims" "dropped" "account" }}
{{- $found := include (printf "exastro-agent.faults.%s" .) (dict "root" $ "model" $model) | fromJson }}
{{- $faults = concat $faults ($found.faults | default list) }}
{{- end }}
{{- if $faults }}
{{- fail (printf "\n\n%d fault(s) in the values:\n  - ita-ag-oase.%s\n" (len $faults) (join "\n  - ita-ag-oase." $faults)) }}
{{- end }}
{{- end }}

{{/* What no Deployment could be made of, and values that would go unused without a word. */}}
{{- define "exastro-agent.faults.release" -}}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- $faults := list }}
{{- if and (ne (toString $v.enabled) "false") (empty .model.groups) }}
{{- $faults = append $faults "agents is empty: list at least one agent there or in agentsByName, or set enabled: false." }}
{{- end }}
{{- $keys := list }}
{{- range .model.groups }}{{ $keys = append $keys .key }}{{ end }}
{{- range $key, $settings := $v.pods | default dict }}
{{- if not (has $key $keys) }}
{{- $faults = append $faults (printf "pods.%s belongs to no agent: set `pod: %q` on an agent, or remove it." $key $key) }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Names that would meet: of Deployments, and of what is made for an agent. */}}
{{- define "exastro-agent.faults.names" -}}
{{- $faults := list }}
{{- $deployments := dict }}
{{- $agents := dict }}
{{- range $group := .model.groups }}
{{- $other := get $deployments $group.name }}
{{- if $other }}
{{- $faults = append $faults (printf "pods: %q and %q both give the Deployment name %s: choose another `pod`." $other $group.key $group.name) }}
{{- end }}
{{- $_ := set $deployments $group.name ($group.key | default "(none)") }}
{{- range $agent := $group.agents }}
{{- $other := get $agents $agent.id }}
{{- if $other }}
{{- $faults = append $faults (printf "%s.extraEnv.AGENT_NAME is %q, which gives the same names (%s) as ita-ag-oase.%s: give every agent a name of its own." $agent.path $agent.name $agent.id $other) }}
{{- end }}
{{- $_ := set $agents $agent.id $agent.path }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Two agents of one name that collect the same setting of the same workspace would refuse each other's events. */}}
{{- define "exastro-agent.faults.overlap" -}}
{{- $faults := list }}
{{- $seen := dict }}
{{- range $group := .model.groups }}
{{- range $agent := $group.agents }}
{{- $c := $agent.config }}
{{- range $setting := splitList "," ($c.EVENT_COLLECTION_SETTINGS_NAMES | default "") }}
{{- $setting = trim $setting }}
{{- $key := toJson (list $c.EXASTRO_URL $c.EXASTRO_ORGANIZATION_ID $c.EXASTRO_WORKSPACE_ID $agent.name $setting) }}
{{- $other := get $seen $key | default $agent }}
{{- if and $setting (ne $other.id $agent.id) }}
{{- $faults = append $faults (printf "%s.extraEnv.AGENT_NAME is %q as in ita-ag-oase.%s, and both collect the setting %q of one workspace: give one of them another AGENT_NAME, or another setting." $agent.path $agent.name $other.path $setting) }}
{{- end }}
{{- $_ := set $seen $key $agent }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}
