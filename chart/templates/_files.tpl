{{/*
(dict "root" $ "entry" entry "id" id): the YAML files of an agent that it reads again when they change. `files`: kind,
variable (that names the file to the agent), volume, folder, key (name of the file), configMap, isOwn and text (where the
chart makes the ConfigMap), secrets (name, files: key by path; without, all keys are files).
*/}}
{{- define "exastro-agent.files" -}}
{{- $kinds := dict
  "sourceOptions" (dict "variable" "SOURCE_OPTIONS_FILE" "use" "sources" "folder" "source-options")
  "localSettings" (dict "variable" "SETTINGS_FILE" "use" "local" "folder" "settings")
}}
{{- $files := list }}
{{- range $kind, $fixed := $kinds }}
{{- $given := get $.entry $kind | default dict }}
{{- $existing := $given.existingConfigMap | default dict }}
{{- if kindIs "string" $existing }}{{ $existing = dict "name" $existing }}{{ end }}
{{- $name := tpl ($existing.name | default "") $.root }}
{{- if or $given.inline $name }}
{{- $file := dict "kind" $kind "variable" $fixed.variable "isOwn" (empty $name) }}
{{- $_ := set $file "volume" (include "exastro-agent.volume" (list $.id $fixed.use)) }}
{{- $_ := set $file "folder" (printf "/etc/oase-agent/%s" $fixed.folder) }}
{{- $_ := set $file "key" ($existing.key | default (printf "%s.yaml" $fixed.folder)) }}
{{- $_ := set $file "configMap" ($name | default (printf "%s-%s" $fixed.folder $.id)) }}
{{- $_ := set $file "text" (include "exastro-agent.document" $given.inline) }}
{{- $secrets := list }}
{{- range $secret := ternary (list $given.secretFiles) $given.secretFiles (kindIs "string" $given.secretFiles) | default list }}
{{- if kindIs "string" $secret }}{{ $secret = dict "name" $secret }}{{ end }}
{{- if $secret.name }}
{{- $secrets = append $secrets (dict "name" (tpl $secret.name $.root) "files" ($secret.files | default dict)) }}
{{- end }}
{{- end }}
{{- $files = append $files (set $file "secrets" $secrets) }}
{{- end }}
{{- end }}
{{- dict "files" $files | toJson }}
{{- end }}

{{/*
A YAML document as a text: a text is taken as it is, a map becomes JSON, which is YAML that can be read in one way only.
*/}}
{{- define "exastro-agent.document" -}}
{{- if kindIs "string" . }}{{ . }}
{{- else if . }}{{ toPrettyJson . }}{{ "\n" }}
{{- end }}
{{- end }}

{{/*
Takes a file: the volume that holds it with its Secrets beside it, so that names relative to the file work. The file comes
last: it goes before a key of the same name.
*/}}
{{- define "exastro-agent.fileVolume" -}}
name: {{ .volume }}
projected:
  sources:
    {{- range .secrets }}
    - secret:
        name: {{ .name | quote }}
        {{- with .files }}
        items:
          {{- range $path, $key := . }}
          - key: {{ $key | quote }}
            path: {{ $path | quote }}
          {{- end }}
        {{- end }}
    {{- end }}
    - configMap:
        name: {{ .configMap | quote }}
{{- end }}

{{/* Takes `localSettings`: the names of the settings in it. `names` tells those that cannot be seen from here. */}}
{{- define "exastro-agent.localNames" -}}
{{- $given := . | default dict }}
{{- $names := $given.names | default list }}
{{- $document := $given.inline | default dict }}
{{- if kindIs "string" $document }}{{ $document = fromYaml $document }}{{ end }}
{{- if kindIs "slice" $document.settings }}
{{- range $document.settings }}
{{- if kindIs "map" . }}
{{- with get . "EVENT_COLLECTION_SETTINGS_NAME" }}{{ $names = append $names (include "exastro-agent.text" .) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "names" $names | toJson }}
{{- end }}
