{{/* Refusals about the files of agents: sourceOptions and localSettings. What is in them the agent itself checks. */}}
{{- define "exastro-agent.faults.files" -}}
{{- $faults := list }}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- range $entry := (include "exastro-agent.entries" $v | fromJson).entries }}
{{- range $kind, $top := dict "sourceOptions" "version" "localSettings" "settings" }}
{{- $arguments := dict "root" $.root "kind" $kind "top" $top "given" (get $entry $kind | default dict) }}
{{- with include "exastro-agent.fault.file" $arguments }}
{{- $faults = append $faults (printf "%s.%s%s" $entry.path $kind .) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $group := .model.groups }}
{{- range $agent := $group.agents }}
{{- range $file := $agent.files }}
{{- range $name := ternary (list "SETTINGS_FILE" "SETTINGS_FILE_MODE") (list "SOURCE_OPTIONS_FILE") (eq $file.kind "localSettings") }}
{{- with (include "exastro-agent.given" (list $agent $name) | fromJson).key }}
{{- $faults = append $faults (printf "%s.%s is set beside %s, which sets it, too: remove one of them." $agent.path . $file.kind) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* (dict "root" $ "kind" key "top" word "given" values): what is wrong with one; `top` is what a file of it begins with. */}}
{{- define "exastro-agent.fault.file" -}}
{{- $existing := .given.existingConfigMap }}
{{- if kindIs "map" $existing }}{{ $existing = $existing.name }}{{ end }}
{{- if and .given.inline $existing }}
{{- print " has `inline` and an existingConfigMap: remove one of them (null takes away what agentDefaults sets)." }}
{{- else if and .given.secretFiles (not (or .given.inline $existing)) }}
{{- print ".secretFiles: there is no file that could name them: set `inline` beside it, or existingConfigMap." }}
{{- else if and (kindIs "map" .given.inline) .given.inline (not (hasKey .given.inline .top)) }}
{{- printf ".inline has no %q, with which such a file begins: put it and everything else of the file there." .top }}
{{- else }}
{{- range $secret := ternary (list) .given.secretFiles (kindIs "string" .given.secretFiles) | default list }}
{{- range $path, $key := (ternary (dict) $secret (kindIs "string" $secret)).files | default dict }}
{{- if or (hasPrefix "/" $path) (has ".." (splitList "/" $path)) }}
{{- printf ".secretFiles: %q must be a path below the folder of the file: leave out / and .. at its beginning." $path }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
