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
{{- $own := dict "ADMIN_PORT" $agent.port "STORAGE_PATH" $agent.mountPath.storage }}
{{- range $agent.files }}
{{- $_ := set $own .variable (printf "%s/%s" .folder .key) }}
{{- if eq .kind "localSettings" }}{{ $_ := set $own "SETTINGS_FILE_MODE" $agent.mode }}{{ end }}
{{- end }}
{{- $facts := dict }}
{{- if eq "true" .group.shares }}
{{- $_ := set $own "COORDINATION" "kubernetes" }}
{{- $_ := set $own "COORDINATION_SLOTS" (include "exastro-agent.maxReplicas" .group.settings) }}
{{- $facts = dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" }}
{{- end }}
{{- range $name, $text := $own }}
{{- if not (has $name $listed) }}
- name: {{ $name }}
  value: {{ toString $text | quote }}
{{- end }}
{{- end }}
{{- range $name, $path := $facts }}
{{- if not (has $name $listed) }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- end }}
{{- with $agent.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
