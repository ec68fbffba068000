{{/* Takes the root. `names`: of the admin ports that any pod has. */}}
{{- define "exastro-agent.ports" -}}
{{- $names := list }}
{{- range (include "exastro-agent.model" . | fromJson).groups }}
{{- range .agents }}{{ $names = append $names .portName }}{{ end }}
{{- end }}
{{- dict "names" (uniq $names) | toJson }}
{{- end }}
