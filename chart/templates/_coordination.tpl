{{/*
Replicas that share the settings of an agent by Leases. The names of the Leases are computed as the agent computes them
(oase_agent/coordination/kubernetes/lease.py), so that the Role can be bound to them.
*/}}

{{/* Takes the values under ita-ag-oase: "true" if pods of one agent share its settings. */}}
{{- define "exastro-agent.isCoordinated" -}}
{{- $enabled := toString (.coordination | default dict).enabled }}
{{- if has $enabled (list "true" "false") }}{{ $enabled }}
{{- else }}{{ gt (int .replicas) 1 }}
{{- end }}
{{- end }}

{{/* Takes settings: most pods that work at a time. */}}
{{- define "exastro-agent.maxReplicas" -}}
{{- (.coordination | default dict).maxReplicas | default 10 | int }}
{{- end }}

{{/* Takes an agent: what the names of its Leases begin with. */}}
{{- define "exastro-agent.leaseBase" -}}
{{- $c := .config }}
{{- $identity := printf "%s/%s/%s" $c.EXASTRO_ORGANIZATION_ID $c.EXASTRO_WORKSPACE_ID $c.AGENT_NAME }}
{{- printf "oase-%s" (sha256sum $identity | trunc 12) }}
{{- end }}

{{/* A text without the blanks around it that Python's strip() takes away, which are more than those of `trim`. */}}
{{- define "exastro-agent.stripped" -}}
{{- $blanks := `[\s\x0b\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+` }}
{{- regexReplaceAll (printf "^%s|%s$" $blanks $blanks) . "" }}
{{- end }}

{{/* (dict "agent" agent "former" names): `names` of all settings that the agent may own, each once. */}}
{{- define "exastro-agent.settingNames" -}}
{{- $names := dict }}
{{- $listed := splitList "," (.agent.config.EVENT_COLLECTION_SETTINGS_NAMES | default "") }}
{{- range concat $listed (.agent.localNames | default list) (.former | default list) }}
{{- $name := include "exastro-agent.stripped" (include "exastro-agent.text" .) }}
{{- if $name }}{{ $_ := set $names $name "" }}{{ end }}
{{- end }}
{{- dict "names" (keys $names | sortAlpha) | toJson }}
{{- end }}

{{/*
Takes the root. `names`: of all Leases of the release's agents. Claims that the Role in the cluster names stay in it: a
setting that was taken out of the values still has events on the volume, which a pod must own to deliver them.
*/}}
{{- define "exastro-agent.leaseNames" -}}
{{- $v := index .Values "ita-ag-oase" }}
{{- $names := dict }}
{{- $bases := dict }}
{{- range (include "exastro-agent.model" . | fromJson).groups }}
{{- $max := include "exastro-agent.maxReplicas" .settings | int }}
{{- range $agent := .agents }}
{{- $base := include "exastro-agent.leaseBase" $agent }}
{{- $_ := set $bases $base "" }}
{{- range until $max }}{{ $_ := set $names (printf "%s-m-%d" $base .) "" }}{{ end }}
{{- $arguments := dict "agent" $agent "former" ($v.coordination | default dict).formerSettings }}
{{- range (include "exastro-agent.settingNames" $arguments | fromJson).names }}
{{- $_ := set $names (printf "%s-c-%s" $base (sha256sum . | trunc 20)) "" }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name := (include "exastro-agent.namesInCluster" . | fromJson).names }}
{{- if and (contains "-c-" $name) (hasKey $bases (first (splitList "-c-" $name))) }}{{ $_ := set $names $name "" }}{{ end }}
{{- end }}
{{- dict "names" (keys $names | sortAlpha) | toJson }}
{{- end }}

{{/* Takes the root. `names`: of Leases in the Roles that the release has in the cluster. */}}
{{- define "exastro-agent.namesInCluster" -}}
{{- $names := list }}
{{- $isThere := .Release.IsUpgrade }}
{{- range $number := until 40 }}
{{- if $isThere }}
{{- $role := lookup "rbac.authorization.k8s.io/v1" "Role" $.Release.Namespace (include "exastro-agent.role" (list $ $number)) }}
{{- $isThere = not (empty $role) }}
{{- range ($role | default dict).rules | default list }}
{{- $names = concat $names (.resourceNames | default list) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "names" $names | toJson }}
{{- end }}

{{/* (list $ number): the name of a Role; numbers count from 0. */}}
{{- define "exastro-agent.role" -}}
{{- $parts := list (include "exastro-agent.base" (index (first .).Values "ita-ag-oase")) "leases" }}
{{- if last . }}{{ $parts = append $parts (toString (add 1 (last .))) }}{{ end }}
{{- include "exastro-agent.label" $parts }}
{{- end }}

{{/*
Takes a group: the volume with what its account shows to the API server. Not mounted by Kubernetes itself, because then
every container of the pod would have it.
*/}}
{{- define "exastro-agent.tokenVolume" -}}
name: {{ include "exastro-agent.volume" (list .name "token") }}
projected:
  sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 3600
    - configMap:
        name: kube-root-ca.crt
        items:
          - key: ca.crt
            path: ca.crt
{{- end }}

{{/* (dict "root" $ "group" group): "true" if the Deployment in the cluster has pods that do not share. */}}
{{- define "exastro-agent.isAlone" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .group.name }}
{{- if $live }}{{ not (contains "\"COORDINATION\"" (toJson $live.spec.template)) }}{{ end }}
{{- end }}
