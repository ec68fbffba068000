{{/*
(dict "root" $ "group" group "command" name): the pod of a group; `run` is the agents, `check` the test hook, which ends
by itself and has no init or extra containers that might not. No service links: they would set options of the agent, as
a Service named `admin` sets ADMIN_PORT.
*/}}
{{- define "exastro-agent.podSpec" -}}
{{- $s := .group.settings }}
{{- $isRun := eq .command "run" }}
{{- $global := (.root.Values.global | default dict).agentGlobalDefinition | default dict }}
{{- with concat ($s.imagePullSecrets | default list) ($global.imagePullSecrets | default list) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ ternary . (dict "name" .) (kindIs "map" .) | dig "name" "" | quote }}
  {{- end }}
{{- end }}
serviceAccountName: {{ include "exastro-agent.account" .root }}
automountServiceAccountToken: {{ eq (toString ($s.serviceAccount | default dict).automountToken) "true" }}
enableServiceLinks: false
{{- with $s.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $s.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $isRun }}
terminationGracePeriodSeconds: {{ $s.terminationGracePeriodSeconds | default 60 | int }}
{{- else }}
terminationGracePeriodSeconds: 5
restartPolicy: Never
activeDeadlineSeconds: 600
{{- end }}
{{- $init := list }}
{{- if $isRun }}
{{- $init = $s.initContainers | default list }}
{{- with include "exastro-agent.setupStorage" . }}{{ $init = prepend $init (fromYaml .) }}{{ end }}
{{- end }}
{{- with $init }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  {{- range .group.agents }}
  - {{ include "exastro-agent.container" (dict "group" $.group "agent" . "command" $.command) | indent 4 | trim }}
  {{- end }}
  {{- if $isRun }}{{ with $s.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}{{ end }}
volumes:
  {{- range .group.stores }}
  - name: {{ .volume }}
    {{- if .claim }}
    persistentVolumeClaim:
      claimName: {{ .claim | quote }}
    {{- else }}
    emptyDir:
      {{- toYaml (.settings.emptyDir | default dict) | nindent 6 }}
    {{- end }}
  {{- end }}
  - name: {{ include "exastro-agent.volume" (list .group.name "homedir") }}
    emptyDir: {}
  - name: {{ include "exastro-agent.volume" (list .group.name "tmp") }}
    emptyDir: {}
  {{- range .group.agents }}
  {{- range .files }}
  - {{ include "exastro-agent.fileVolume" . | indent 4 | trim }}
  {{- end }}
  {{- end }}
  {{- if eq "true" .group.shares }}
  - {{ include "exastro-agent.tokenVolume" .group | indent 4 | trim }}
  {{- end }}
  {{- with $s.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- include "exastro-agent.placement" . }}
{{- end }}

{{/*
Where a pod may run. A spread constraint without selector counts all agents of the release. Pods that share are on
several nodes if that can be.
*/}}
{{- define "exastro-agent.placement" -}}
{{- $s := .group.settings }}
{{- with $s.nodeSelector }}
nodeSelector:
  {{- include "exastro-agent.strings" (list .) | nindent 2 }}
{{- end }}
{{- with .affinity | default $s.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $s.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $constraints := $s.topologySpreadConstraints }}
{{- if and (empty $constraints) (eq "true" .group.shares) }}
{{- $labels := include "exastro-agent.selectorLabels" (dict "root" .root "name" .group.name) | fromYaml }}
{{- $spread := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $constraints = list (set $spread "labelSelector" (dict "matchLabels" $labels)) }}
{{- end }}
{{- if and $constraints (eq .command "run") }}
{{- $labels := include "exastro-agent.releaseLabels" .root | fromYaml }}
topologySpreadConstraints:
  {{- range $constraints }}
  {{- $selector := .labelSelector | default (dict "matchLabels" $labels) }}
  - {{ toYaml (set (deepCopy .) "labelSelector" $selector) | indent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}
