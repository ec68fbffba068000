{{/*
Refusals about the options that the manifests depend on: containerPort and probes follow ADMIN_PORT, the mount of the
volume follows STORAGE_PATH. An agent that listens or writes elsewhere would be killed by its probes, or lose events.
*/}}
{{- define "exastro-agent.faults.options" -}}
{{- $faults := list }}
{{- range $group := .model.groups }}
{{- $ports := dict }}
{{- range $agent := $group.agents }}
{{- $arguments := dict "group" $group "agent" $agent "ports" $ports }}
{{- range list "source" "port" "host" "storage" }}
{{- with include (printf "exastro-agent.fault.%s" .) $arguments }}
{{- $faults = append $faults (printf "%s.%s" $agent.path .) }}
{{- end }}
{{- end }}
{{- $_ := set $ports (toString $agent.port) $agent.path }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/*
The chart sees a port in `extraEnv` only. With envFrom or a whole Secret its own variable goes before theirs, but beside
a file the agent refuses it.
*/}}
{{- define "exastro-agent.fault.source" -}}
{{- $given := include "exastro-agent.given" (list .agent "ADMIN_PORT") | fromJson }}
{{- $known := include "exastro-agent.variables" .agent | fromJson }}
{{- if not (has $given.key (list "" "extraEnv.ADMIN_PORT")) }}
{{- printf "%s: the pod's port and probes cannot follow it there: set extraEnv.ADMIN_PORT instead." $given.key }}
{{- else if hasKey $known "ADMIN_PORT_FILE" }}
{{- $given = include "exastro-agent.given" (list .agent "ADMIN_PORT_FILE") | fromJson }}
{{- printf "%s: the pod's port and probes cannot follow a file: set extraEnv.ADMIN_PORT instead." $given.key }}
{{- else if hasKey $known "STORAGE_PATH_FILE" }}
{{- $given = include "exastro-agent.given" (list .agent "STORAGE_PATH_FILE") | fromJson }}
{{- printf "%s: the volume's mount cannot follow a file: set persistence.mountPath.storage instead." $given.key }}
{{- end }}
{{- end }}

{{/* Agents of a pod share its address, so each needs a port of its own. `ports`: those of the agents before. */}}
{{- define "exastro-agent.fault.port" -}}
{{- $text := .agent.config.ADMIN_PORT | default (toString .agent.port) }}
{{- $isPort := regexMatch "^[1-9][0-9]{0,4}$" $text }}
{{- if or (not $isPort) (gt (int .agent.port) 65535) }}
{{- printf "extraEnv.ADMIN_PORT is %q: give a port from 1 to 65535, or remove it." $text }}
{{- else if hasKey .ports $text }}
{{- printf "extraEnv.ADMIN_PORT: port %s is that of ita-ag-oase.%s in the same pod: choose another, or remove it." $text (get .ports $text) }}
{{- end }}
{{- end }}

{{/* The kubelet asks at the pod's address. Only probes that run a command in the container reach loopback. */}}
{{- define "exastro-agent.fault.host" -}}
{{- $given := include "exastro-agent.given" (list .agent "ADMIN_HOST") | fromJson }}
{{- $isLoopback := regexMatch "(?i)^\\[?(127\\..*|localhost|(0*:)+0*1|::ffff:127\\..*)\\]?$" (trim $given.text) }}
{{- $isAsked := false }}
{{- range $kind := list "startup" "liveness" "readiness" }}
{{- $probe := get $.agent.probes $kind | default dict }}
{{- if and $probe (ne (toString $probe.enabled) "false") (empty $probe.exec) }}{{ $isAsked = true }}{{ end }}
{{- end }}
{{- if and $isLoopback $isAsked }}
{{- printf "%s is an address that only the pod itself reaches, not the probes: remove it, or set \"0.0.0.0\" or \"::\"." $given.key }}
{{- end }}
{{- end }}

{{/* Home and /tmp do not count: they go with the pod. */}}
{{- define "exastro-agent.fault.storage" -}}
{{- $given := include "exastro-agent.given" (list .agent "STORAGE_PATH") | fromJson }}
{{- $mounts := list .agent.mountPath.storage }}
{{- range concat (.group.settings.extraVolumeMounts | default list) (.agent.extraVolumeMounts | default list) }}
{{- if ne (toString .readOnly) "true" }}{{ $mounts = append $mounts (toString .mountPath) }}{{ end }}
{{- end }}
{{- $isMounted := empty $given.text }}
{{- range $mounts }}
{{- $folder := printf "%s/" (clean . | trimSuffix "/") }}
{{- if hasPrefix $folder (printf "%s/" (clean $given.text)) }}{{ $isMounted = true }}{{ end }}
{{- end }}
{{- if not $isMounted }}
{{- printf "%s is outside the volume for events, which is mounted at %s, so they could not be kept: remove it. To have the volume elsewhere, set persistence.mountPath.storage." $given.key .agent.mountPath.storage }}
{{- end }}
{{- end }}

{{/*
(list agent name): the `key` of the values that sets a variable, empty if none does, and its `text`, empty where it
cannot be seen from here: it is in another object, or Kubernetes puts it together.
*/}}
{{- define "exastro-agent.given" -}}
{{- $agent := first . }}
{{- $name := last . }}
{{- $map := "" }}
{{- $text := "" }}
{{- if hasKey $agent.config $name }}{{ $map = "extraEnv" }}{{ $text = get $agent.config $name }}
{{- else if hasKey $agent.secret $name }}{{ $map = "secret" }}{{ $text = get $agent.secret $name }}
{{- else if hasKey $agent.existingSecret.keys $name }}{{ $map = "existingSecret.keys" }}
{{- end }}
{{- range $agent.env }}
{{- if eq .name $name }}{{ $map = "env" }}{{ $text = toString (.value | default "") }}{{ end }}
{{- end }}
{{- if contains "$(" $text }}{{ $text = "" }}{{ end }}
{{- $key := ternary (printf "env (%s)" $name) (printf "%s.%s" $map $name) (eq $map "env") }}
{{- dict "key" (ternary $key "" (ne $map "")) "text" $text | toJson }}
{{- end }}
