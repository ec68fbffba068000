{{/*
The model: values in one normal form, with every default applied and every name computed. Templates only print it.

  groups: one per Deployment
    name      of the Deployment; also the value of the selector label app.kubernetes.io/name
    key       what agents name in `pod`; empty for the base group
    settings  the values under ita-ag-oase with those under pods.<key> laid over them
    shares    "true" if pods of one agent share its settings by Leases
    stores    volumes for spools: volume, claim (empty: an emptyDir), isOwn (the chart makes the claim), owner,
              path (where its settings stand in the values), settings
    agents    containers: path (where it stands in the values), name, id, image, pullPolicy, port, portName, store,
              mountPath (storage, homeDir, tmp), config and secret (texts by variable), configMap, secretName,
              existingSecret, env, envFrom, probes, resources, extraVolumeMounts, files (see _files.tpl), mode (of
              localSettings), localNames

Nothing here fails; what is wrong is said in _validate.tpl. Every template asks for the model, so its JSON is kept in
`.Values` for the length of a render.
*/}}
{{- define "exastro-agent.model" -}}
{{- if not (hasKey .Values "exastro-agent.model") }}
{{- $_ := set .Values "exastro-agent.model" (include "exastro-agent.newModel" .) }}
{{- end }}
{{- get .Values "exastro-agent.model" }}
{{- end }}

{{/* Takes the root: JSON of a model made from the values. */}}
{{- define "exastro-agent.newModel" -}}
{{- $v := index .Values "ita-ag-oase" | default dict }}
{{- $entries := dict }}
{{- $keys := list }}
{{- if ne (toString $v.enabled) "false" }}
{{- range $entry := (include "exastro-agent.entries" $v | fromJson).entries }}
{{- $_ := set $entries $entry.key (append (get $entries $entry.key | default list) $entry) }}
{{- $keys = append $keys $entry.key }}
{{- end }}
{{- end }}
{{- $groups := list }}
{{- range $key := uniq $keys }}
{{- $arguments := dict "root" $ "v" $v "key" $key "entries" (get $entries $key) }}
{{- $groups = append $groups (include "exastro-agent.group" $arguments | fromJson) }}
{{- end }}
{{- dict "base" (include "exastro-agent.base" $v) "groups" $groups | toJson }}
{{- end }}

{{/*
Takes the values under ita-ag-oase. `entries`: those of the list, then those of the map, each over agentDefaults, with
`path` (where it stands), `name` (AGENT_NAME) and `key` (of its group).
*/}}
{{- define "exastro-agent.entries" -}}
{{- $v := . }}
{{- $found := list }}
{{- range $i, $entry := $v.agents | default list }}
{{- $found = append $found (dict "path" (printf "agents[%d]" $i) "own" $entry "name" "oase-agent") }}
{{- end }}
{{- range $name, $entry := $v.agentsByName | default dict }}
{{- $found = append $found (dict "path" (printf "agentsByName.%s" $name) "own" $entry "name" $name) }}
{{- end }}
{{- $entries := list }}
{{- range $one := $found }}
{{- if not (kindIs "invalid" $one.own) }}
{{- $entry := include "exastro-agent.merge" (list ($v.agentDefaults | default dict) $one.own) | fromJson }}
{{- $name := include "exastro-agent.text" ((($entry.extraEnv | default dict).AGENT_NAME) | default $one.name) }}
{{- $own := ternary $name "" (eq (toString $v.layout) "perAgent") }}
{{- $key := include "exastro-agent.text" ($entry.pod | default $own) }}
{{- $_ := set (set (set $entry "path" $one.path) "name" $name) "key" $key }}
{{- $entries = append $entries $entry }}
{{- end }}
{{- end }}
{{- dict "entries" $entries | toJson }}
{{- end }}

{{/* (dict "root" $ "v" values "key" key "entries" entries): a group. */}}
{{- define "exastro-agent.group" -}}
{{- $settings := omit .v "agents" "agentDefaults" "agentsByName" "pods" "extraObjects" }}
{{- $podSettings := get (.v.pods | default dict) .key | default dict }}
{{- $settings = include "exastro-agent.merge" (list $settings $podSettings) | fromJson }}
{{- $base := include "exastro-agent.base" .v }}
{{- $name := $base }}
{{- if .key }}{{ $name = include "exastro-agent.label" (list $base .key) }}{{ end }}
{{- $agents := list }}
{{- $stores := list }}
{{- range $position, $entry := .entries }}
{{- $arguments := dict "root" $.root "settings" $settings "group" $name "position" $position "entry" $entry }}
{{- $_ := set $arguments "id" (include "exastro-agent.label" (list $base $entry.pod $entry.name | compact)) }}
{{- $store := include "exastro-agent.store" $arguments | fromJson }}
{{- if not (has $store $stores) }}{{ $stores = append $stores $store }}{{ end }}
{{- $agent := include "exastro-agent.agent" $arguments | fromJson }}
{{- $mountPath := dict "storage" "/storage" "homeDir" "/home/app_user" "tmp" "/tmp" }}
{{- range $place, $path := $store.settings.mountPath }}
{{- if and $path (hasKey $mountPath $place) }}{{ $_ := set $mountPath $place $path }}{{ end }}
{{- end }}
{{- $_ := set $agent "mountPath" $mountPath }}
{{- $agents = append $agents (set $agent "store" $store.volume) }}
{{- end }}
{{- $group := dict "name" $name "key" .key "settings" $settings "agents" $agents "stores" $stores }}
{{- set $group "shares" (include "exastro-agent.isCoordinated" .v) | toJson }}
{{- end }}

{{/*
The volume of an agent's spool: that of its group, or one of its own if persistence.perAgent is set or the agent has a
`persistence`.
*/}}
{{- define "exastro-agent.store" -}}
{{- $shared := .settings.persistence | default dict }}
{{- $hasSettings := not (empty .entry.persistence) }}
{{- $isAlone := or (eq (toString $shared.perAgent) "true") $hasSettings }}
{{- $settings := include "exastro-agent.merge" (list $shared (.entry.persistence | default dict)) | fromJson }}
{{- $owner := ternary .id .group $isAlone }}
{{- $existing := tpl ($settings.existingClaim | default "") .root }}
{{- $isKept := ne (toString $settings.enabled) "false" }}
{{- $store := dict "owner" $owner "settings" $settings }}
{{- $_ := set $store "volume" (include "exastro-agent.volume" (list $owner "storage")) }}
{{- $_ := set $store "path" (ternary (printf "%s.persistence" .entry.path) "persistence" $hasSettings) }}
{{- $_ := set $store "claim" (ternary ($existing | default (printf "pvc-%s" $owner)) "" $isKept) }}
{{- $_ := set $store "isOwn" (and $isKept (empty $existing)) }}
{{- toJson $store }}
{{- end }}

{{/*
One container; its config leaves out what `secret` or `env` sets, so that no variable stands twice. An empty ADMIN_PORT
or STORAGE_PATH is none, as for the agent: its own default would be another than that of the pod.
*/}}
{{- define "exastro-agent.agent" -}}
{{- $entry := .entry }}
{{- $agent := pick $entry "path" "name" "envFrom" "resources" "extraVolumeMounts" }}
{{- $ofThePod := list "ADMIN_PORT" "STORAGE_PATH" }}
{{- $existing := $entry.existingSecret | default dict }}
{{- if kindIs "string" $existing }}{{ $existing = dict "name" $existing }}{{ end }}
{{- $existing = dict "name" (tpl ($existing.name | default "") .root) "keys" ($existing.keys | default dict) }}
{{- $_ := set $agent "existingSecret" $existing }}
{{- $extraEnv := merge (dict "AGENT_NAME" $entry.name) ($entry.extraEnv | default dict) }}
{{- $env := list }}
{{- $listed := dict }}
{{- range $variable := $entry.env | default list }}
{{- if or $variable.value $variable.valueFrom (not (has $variable.name $ofThePod)) }}
{{- $env = append $env $variable }}
{{- $_ := set $listed $variable.name "" }}
{{- end }}
{{- end }}
{{- $_ := set $agent "env" $env }}
{{- $secret := include "exastro-agent.texts" (list $entry.secret $listed $existing.keys) | fromJson }}
{{- $config := include "exastro-agent.texts" (list $extraEnv $listed $existing.keys $secret) | fromJson }}
{{- range $ofThePod }}{{ if empty (get $config .) }}{{ $_ := unset $config . }}{{ end }}{{ end }}
{{- $_ := set $agent "secret" $secret }}
{{- $_ := set $agent "config" $config }}
{{- $_ := set $agent "id" .id }}
{{- $_ := set $agent "files" (include "exastro-agent.files" . | fromJson).files }}
{{- $_ := set $agent "mode" (($entry.localSettings | default dict).mode | default "merge") }}
{{- $_ := set $agent "localNames" (include "exastro-agent.localNames" $entry.localSettings | fromJson).names }}
{{- $_ := set $agent "configMap" (printf "params-%s" .id) }}
{{- $_ := set $agent "secretName" (printf "secret-%s" .id) }}
{{- $image := $entry.image | default dict }}
{{- $_ := set $agent "repository" (include "exastro-agent.repository" (dict "root" .root "image" $image)) }}
{{- $_ := set $agent "image" (include "exastro-agent.image" (dict "root" .root "image" $image)) }}
{{- $policy := $image.pullPolicy | default "IfNotPresent" }}
{{- $_ := set $agent "pullPolicy" (ternary "Never" $policy (eq $policy "None")) }}
{{- $port := add (.settings.adminPort | default 8080) .position }}
{{- $_ := set $agent "port" (int ($config.ADMIN_PORT | default $port)) }}
{{- $_ := set $agent "portName" (ternary "admin" (printf "admin-%d" (add 1 .position)) (eq 0 .position)) }}
{{- $probes := list (.settings.probes | default dict) ($entry.probes | default dict) }}
{{- $probes = include "exastro-agent.merge" $probes | fromJson }}
{{- toJson (set $agent "probes" $probes) }}
{{- end }}
