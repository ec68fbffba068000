{{/* Reading values: texts that are exact, and maps laid over each other. The same in Helm 3.9 and Helm 4. */}}

{{/* (list values other other …): the texts of `values` without nulls and without the keys of the other maps. */}}
{{- define "exastro-agent.texts" -}}
{{- $texts := dict }}
{{- $others := rest . }}
{{- range $key, $value := first . | default dict }}
{{- $isElsewhere := kindIs "invalid" $value }}
{{- range $other := $others }}{{ if hasKey $other $key }}{{ $isElsewhere = true }}{{ end }}{{ end }}
{{- if not $isElsewhere }}{{ $_ := set $texts $key (include "exastro-agent.text" $value) }}{{ end }}
{{- end }}
{{- toJson $texts }}
{{- end }}

{{/* The exact text of a scalar. Numbers come as floats: only JSON writes 12345678 without an exponent. */}}
{{- define "exastro-agent.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{/* (list below above): JSON of `below` with `above` laid over it, map by map. Null takes a key away. */}}
{{- define "exastro-agent.merge" -}}
{{- $merged := deepCopy (index . 0) }}
{{- range $key, $value := index . 1 }}
{{- if kindIs "invalid" $value }}{{ $_ := unset $merged $key }}
{{- else if eq "map map" (printf "%s %s" (kindOf $value) (kindOf (get $merged $key))) }}
{{- $_ := set $merged $key (include "exastro-agent.merge" (list (get $merged $key) $value) | fromJson) }}
{{- else }}{{ $_ := set $merged $key $value }}
{{- end }}
{{- end }}
{{- toJson $merged }}
{{- end }}
