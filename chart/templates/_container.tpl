{{/* (dict "group" group "agent" agent "command" name): the container of an agent, running `oase-agent <command>`. */}}
{{- define "exastro-agent.container" -}}
{{- $settings := .group.settings }}
{{- $agent := .agent }}
name: {{ $agent.id }}
image: {{ $agent.image | quote }}
imagePullPolicy: {{ $agent.pullPolicy }}
command: ["oase-agent"]
args: [{{ .command | quote }}]
{{- with $settings.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  {{- include "exastro-agent.env" . | trim | nindent 2 }}
{{- $sources := $agent.envFrom | default list }}
{{- if and $agent.existingSecret.name (empty $agent.existingSecret.keys) }}
{{- $sources = append $sources (dict "secretRef" (dict "name" $agent.existingSecret.name)) }}
{{- end }}
{{- with $sources }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .command "run" }}
ports:
  - name: {{ $agent.portName }}
    containerPort: {{ $agent.port | int }}
    protocol: TCP
{{- range $kind, $path := dict "startup" "/healthz" "liveness" "/healthz" "readiness" "/readyz" }}
{{- with include "exastro-agent.probe" (dict "probe" (get $agent.probes $kind) "path" $path "port" $agent.portName) }}
{{ $kind }}Probe:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
{{- with $agent.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "exastro-agent.mounts" . | trim | nindent 2 }}
{{- end }}

{{/* A probe as YAML: a request to the admin port unless the values name another action; nothing if switched off. */}}
{{- define "exastro-agent.probe" -}}
{{- $probe := .probe | default dict }}
{{- if and $probe (ne (toString $probe.enabled) "false") }}
{{- $probe = omit $probe "enabled" }}
{{- if empty (pick $probe "httpGet" "exec" "tcpSocket" "grpc") }}
{{- $_ := set $probe "httpGet" (dict "path" .path "port" .port) }}
{{- end }}
{{- toYaml $probe }}
{{- end }}
{{- end }}

{{/* The mounts. Agents of a pod share the spool's volume, where each has its folder, but neither /tmp nor home. */}}
{{- define "exastro-agent.mounts" -}}
{{- $group := .group }}
{{- $agent := .agent }}
- name: {{ $agent.store }}
  mountPath: {{ $agent.mountPath.storage | quote }}
  {{- range $group.stores }}
  {{- if eq .volume $agent.store }}
  {{- with .settings.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
- name: {{ include "exastro-agent.volume" (list $group.name "homedir") }}
  mountPath: {{ $agent.mountPath.homeDir | quote }}
  subPath: {{ $agent.id }}
- name: {{ include "exastro-agent.volume" (list $group.name "tmp") }}
  mountPath: {{ $agent.mountPath.tmp | quote }}
  subPath: {{ $agent.id }}
{{- range $agent.files }}
- name: {{ .volume }}
  mountPath: {{ .folder }}
  readOnly: true
{{- end }}
{{- if eq "true" $group.shares }}
- name: {{ include "exastro-agent.volume" (list $group.name "token") }}
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- with $group.settings.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- with $agent.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
