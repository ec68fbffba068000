{{/*
(dict "group" group "root" $): the init container that gives the folders of spools to the agents' user, or nothing
where the fsGroup of the pod does it. It is root with the one capability that this needs, and if recursive with that to
look into folders of other users.
*/}}
{{- define "exastro-agent.setupStorage" -}}
{{- $s := .group.settings }}
{{- $permissions := $s.volumePermissions | default dict }}
{{- $stores := list }}
{{- range .group.stores }}
{{- $needs := include "exastro-agent.needsOwner" (dict "store" . "mode" ($permissions.mode | default "auto")) }}
{{- if eq $needs "true" }}{{ $stores = append $stores . }}{{ end }}
{{- end }}
{{- $user := include "exastro-agent.user" $s | fromJson }}
{{- if and $stores (hasKey $user "runAsUser") }}
{{- $isDeep := eq (toString $permissions.recursive) "true" }}
{{- $mountPath := (($s.persistence | default dict).mountPath | default dict).storage | default "/storage" }}
{{- $paths := list }}
{{- range $stores }}{{ $paths = append $paths (printf "%s/%s" $mountPath .owner) }}{{ end }}
{{- if eq 1 (len $stores) }}{{ $paths = list $mountPath }}{{ end }}
name: setup-storage
image: {{ (first .group.agents).image | quote }}
imagePullPolicy: {{ (first .group.agents).pullPolicy }}
command: ["python3", "-I", "-c"]
args:
  - {{ .root.Files.Get "files/own_storage.py" | quote }}
  - {{ $user.runAsUser | int64 | quote }}
  - {{ $user.runAsGroup | default $user.runAsUser | int64 | quote }}
  - {{ ternary "deep" "shallow" $isDeep }}
  {{- range $paths }}
  - {{ . | quote }}
  {{- end }}
securityContext:
  runAsUser: 0
  runAsGroup: 0
  runAsNonRoot: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  seccompProfile:
    type: RuntimeDefault
  capabilities:
    drop: [ALL]
    add: {{ ternary (list "CHOWN" "DAC_READ_SEARCH") (list "CHOWN") $isDeep | toJson }}
{{- with $permissions.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- range $i, $store := $stores }}
  - name: {{ $store.volume }}
    mountPath: {{ index $paths $i | quote }}
    {{- with $store.settings.subPath }}
    subPath: {{ . | quote }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Whether a store's folder needs its owner set. fsGroup does nothing on hostPath, which 2.7 takes for granted. */}}
{{- define "exastro-agent.needsOwner" -}}
{{- $settings := .store.settings }}
{{- $isMade := eq (toString ($settings.hostPath | default dict).create) "true" }}
{{- $isDocumented := and (eq (toString $settings.volumeType) "hostPath") (eq (toString $settings.storageClass) "-") }}
{{- $isHostPath := and .store.isOwn (or $isMade $isDocumented) }}
{{- and (not (empty .store.claim)) (or (eq .mode "initContainer") (and (eq .mode "auto") $isHostPath)) }}
{{- end }}

{{/* Takes settings: `runAsUser` and `runAsGroup` of the agents, as far as the values set them. */}}
{{- define "exastro-agent.user" -}}
{{- $contexts := list ($.podSecurityContext | default dict) ($.securityContext | default dict) }}
{{- pick (include "exastro-agent.merge" $contexts | fromJson) "runAsUser" "runAsGroup" | toJson }}
{{- end }}
