{{/* Takes the root. `names`: of the admin ports that any pod has. */}}
{{- define "exastro-agent.ports" -}}
{{- $names := list }}
{{- range (include "exastro-agent.model" . | fromJson).groups }}
{{- range .agents }}{{ $names = append $names .portName }}{{ end }}
{{- end }}
{{- dict "names" (uniq $names) | toJson }}
{{- end }}

{{/* Takes the root: "true" if there is to be a disruption budget. One for a single pod could only block a drain. */}}
{{- define "exastro-agent.hasBudget" -}}
{{- $v := index .Values "ita-ag-oase" }}
{{- $enabled := toString ($v.podDisruptionBudget | default dict).enabled }}
{{- $groups := (include "exastro-agent.model" . | fromJson).groups }}
{{- $isShared := and (not (empty $groups)) (eq "true" (include "exastro-agent.isCoordinated" $v)) }}
{{- if eq $enabled "true" }}{{ or $isShared (gt (len $groups) 1) }}
{{- else }}{{ and $isShared (ne $enabled "false") }}
{{- end }}
{{- end }}
