{{/*
(dict "group" group "agent" agent): the variables. By reference to ConfigMap and Secret, key by key, as 2.7 has it; then
those of the chart; then `env` of the values.
*/}}
{{- define "exastro-agent.env" -}}
{{- $agent := .agent }}
{{- $written := list }}
{{- range $agent.env }}{{ $written = append $written .name }}{{ end }}
{{- $listed := concat $written (keys $agent.config $agent.secret $agent.existingSecret.keys) }}
{{- range $name, $text := $agent.config }}
- name: {{ $name | quote }}
  valueFrom:
    configMapKeyRef:
      name: {{ $agent.configMap }}
      key: {{ $name | quote }}
{{- end }}
{{- range $name, $text := $agent.secret }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ $agent.secretName }}
      key: {{ $name | quote }}
{{- end }}
{{- range $name, $key := $agent.existingSecret.keys }}
{{- if not (has $name $written) }}
- name: {{ $name | quote }}
  valueFrom:
    secretKeyRef:
      name: {{ $agent.existingSecret.name | quote }}
      key: {{ $key | quote }}
{{- end }}
{{- end }}
{{- range $name, $text := dict "ADMIN_PORT" $agent.port "STORAGE_PATH" $agent.mountPath.storage }}
{{- if not (has $name $listed) }}
- name: {{ $name }}
  value: {{ toString $text | quote }}
{{- end }}
{{- end }}
{{- with $agent.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
