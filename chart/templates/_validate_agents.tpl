{{/* Refusals about single agents: settings, credentials, image. */}}
{{- define "exastro-agent.faults.agents" -}}
{{- $faults := list }}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- range $entry := (include "exastro-agent.entries" $v | fromJson).entries }}
{{- $faults = concat $faults ((include "exastro-agent.faults.texts" $entry | fromJson).faults | default list) }}
{{- end }}
{{- range $group := .model.groups }}
{{- range $agent := $group.agents }}
{{- $faults = concat $faults ((include "exastro-agent.faults.settings" $agent | fromJson).faults | default list) }}
{{- $faults = concat $faults ((include "exastro-agent.faults.credentials" $agent | fromJson).faults | default list) }}
{{- if hasSuffix "exastro-it-automation-ag-oase" $agent.repository }}
{{- $faults = append $faults (printf "%s.image.repository: %s is the image of the agent 2.7, which has no health port and another command: leave it empty, or name a copy of exastro/oase-agent." $agent.path $agent.repository) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Takes an entry of the values: texts that cannot be had exactly, and empty secrets. */}}
{{- define "exastro-agent.faults.texts" -}}
{{- $faults := list }}
{{- range $map := list "extraEnv" "secret" }}
{{- range $name, $value := get $ $map | default dict }}
{{- $key := printf "%s.%s.%s" $.path $map $name }}
{{- if has (kindOf $value) (list "map" "slice") }}
{{- $faults = append $faults (printf "%s is a %s: give one text." $key (ternary "list" "map" (eq "slice" (kindOf $value)))) }}
{{- else if and (has (kindOf $value) (list "float64" "int64" "int")) (gt (float64 (printf "%v" $value | trimPrefix "-")) 9007199254740991.0) }}
{{- $faults = append $faults (printf "%s is a number of more than 15 digits, whose last ones are lost: put it in quotes." $key) }}
{{- end }}
{{- if and (eq $map "secret") (eq "\"\"" (toJson $value)) }}
{{- $faults = append $faults (printf "%s is empty: give it a value, or set it to null to leave it out." $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Takes an agent: options without which it does not start, as far as they can be seen from here. */}}
{{- define "exastro-agent.faults.settings" -}}
{{- $faults := list }}
{{- $isOpen := or (not (empty .envFrom)) (not (empty .existingSecret.name)) }}
{{- $known := include "exastro-agent.variables" . | fromJson }}
{{- if eq "only" (include "exastro-agent.settingsMode" .) }}{{ $_ := set $known "EVENT_COLLECTION_SETTINGS_NAMES" "" }}{{ end }}
{{- range $name := list "EXASTRO_URL" "EXASTRO_ORGANIZATION_ID" "EXASTRO_WORKSPACE_ID" "EVENT_COLLECTION_SETTINGS_NAMES" }}
{{- if not (or $isOpen (hasKey $known $name) (hasKey $known (printf "%s_FILE" $name))) }}
{{- $faults = append $faults (printf "%s.extraEnv.%s is missing: the agent does not start without it. Set it there, or for all agents in agentDefaults.extraEnv." $.path $name) }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Takes an agent: credentials that are missing, or were never filled in. */}}
{{- define "exastro-agent.faults.credentials" -}}
{{- $faults := list }}
{{- $known := include "exastro-agent.variables" . | fromJson }}
{{- $has := dict }}
{{- range $name := list "EXASTRO_REFRESH_TOKEN" "EXASTRO_USERNAME" "EXASTRO_PASSWORD" }}
{{- $_ := set $has $name (or (hasKey $known $name) (hasKey $known (printf "%s_FILE" $name))) }}
{{- end }}
{{- $isOpen := or (not (empty .envFrom)) (not (empty .existingSecret.name)) }}
{{- if not (or $isOpen $has.EXASTRO_REFRESH_TOKEN (and $has.EXASTRO_USERNAME $has.EXASTRO_PASSWORD)) }}
{{- $faults = append $faults (printf "%s.secret has no credentials: set EXASTRO_REFRESH_TOKEN there, or EXASTRO_USERNAME and EXASTRO_PASSWORD, or name a Secret in existingSecret." .path) }}
{{- end }}
{{- $placeholders := list "change-this-token" "exastro_refresh_token" "your_exastro_refresh_token" }}
{{- if has (get .secret "EXASTRO_REFRESH_TOKEN") $placeholders }}
{{- $faults = append $faults (printf "%s.secret.EXASTRO_REFRESH_TOKEN is still the example %q: put the token there that the workspace issued, or remove it and name a Secret in existingSecret." .path .secret.EXASTRO_REFRESH_TOKEN) }}
{{- end }}
{{- if and .existingSecret.name (empty .existingSecret.keys) (pick .secret "EXASTRO_REFRESH_TOKEN" "EXASTRO_USERNAME" "EXASTRO_PASSWORD") }}
{{- $faults = append $faults (printf "%s has credentials in `secret` and an existingSecret, and those in `secret` would be taken: remove one of them (null takes away what agentDefaults sets)." .path) }}
{{- end }}
{{- if and .existingSecret.keys (empty .existingSecret.name) }}
{{- $faults = append $faults (printf "%s.existingSecret has keys but no name: set existingSecret.name." .path) }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Takes an agent: a map with every variable that is set to something. */}}
{{- define "exastro-agent.variables" -}}
{{- $known := dict }}
{{- range $map := list .config .secret .existingSecret.keys }}
{{- range $name, $text := $map }}{{ if ne $text "" }}{{ $_ := set $known $name "" }}{{ end }}{{ end }}
{{- end }}
{{- range .env | default list }}{{ $_ := set $known .name "" }}{{ end }}
{{- toJson $known }}
{{- end }}
