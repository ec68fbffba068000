{{/* Takes the root. `warnings`: what is accepted but deserves a word in NOTES. */}}
{{- define "exastro-agent.warnings" -}}
{{- $model := include "exastro-agent.model" . | fromJson }}
{{- $warnings := list }}
{{- range list "pods" "replicas" "agents" "files" "metrics" "dead" }}
{{- $found := include (printf "exastro-agent.warnings.%s" .) (dict "root" $ "model" $model) | fromJson }}
{{- $warnings = concat $warnings ($found.warnings | default list) }}
{{- end }}
{{- dict "warnings" ($warnings | default list) | toJson }}
{{- end }}

{{/* About Deployments and volumes. */}}
{{- define "exastro-agent.warnings.pods" -}}
{{- $warnings := list }}
{{- range $group := .model.groups }}
{{- $arguments := dict "root" $.root "group" $group }}
{{- $count := include "exastro-agent.replicas" $arguments }}
{{- if or (eq "0" $count) (and (eq "" $count) (eq "true" (include "exastro-agent.isAtZero" $arguments))) }}
{{- $command := printf "kubectl scale deployment %s --namespace %s --replicas=1" $group.name $.root.Release.Namespace }}
{{- $warnings = append $warnings (printf "Deployment %s is at 0 pods: nothing is collected until `%s`." $group.name $command) }}
{{- end }}
{{- if eq "true" (include "exastro-agent.isExclusive" $group) }}
{{- $warnings = append $warnings (printf "The claim of %s goes to one pod only, so there is no `helm test` for it: `kubectl exec --namespace %s deployment/%s -- oase-agent check` does the same." $group.name $.root.Release.Namespace $group.name) }}
{{- end }}
{{- range $store := $group.stores }}
{{- if empty $store.claim }}
{{- $warnings = append $warnings (printf "%s.enabled is false: what waits in %s is lost with its pod, and known events are collected again." $store.path $group.name) }}
{{- else if eq "true" (include "exastro-agent.needsOwner" (dict "store" $store "mode" "auto")) }}
{{- $warnings = append $warnings (printf "The claim %s is for a hostPath volume: the data is on one node and goes with it. Use a storage class where events matter." $store.claim) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "warnings" $warnings | toJson }}
{{- end }}

{{/* About single agents. */}}
{{- define "exastro-agent.warnings.agents" -}}
{{- $warnings := list }}
{{- range $entry := (include "exastro-agent.entries" (index .root.Values "ita-ag-oase") | fromJson).entries }}
{{- $image := $entry.image | default dict }}
{{- if eq "None" (toString $image.pullPolicy) }}
{{- $warnings = append $warnings (printf "%s.image.pullPolicy: None is no policy of Kubernetes; Never is used." $entry.path) }}
{{- end }}
{{- if not (has (toString ($image.tag | default "")) (list "" $.root.Chart.AppVersion)) }}
{{- $warnings = append $warnings (printf "%s.image.tag is %q, the chart's own is %q: it must be a tag of this agent's image, not of the agent 2.7." $entry.path $image.tag $.root.Chart.AppVersion) }}
{{- end }}
{{- range $name, $value := $entry.extraEnv | default dict }}
{{- if and (regexMatch "(?i)(password|token|secret)" $name) (not (hasSuffix "_FILE" $name)) (not (kindIs "invalid" $value)) }}
{{- $warnings = append $warnings (printf "%s.extraEnv.%s looks like a secret, and a ConfigMap is no place for one: move it to `secret`." $entry.path $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $group := .model.groups }}
{{- range $agent := $group.agents }}
{{- range $store := $group.stores }}
{{- $limit := ($store.settings.emptyDir | default dict).sizeLimit }}
{{- if and (eq $store.volume $agent.store) (empty $store.claim) $limit (not (hasKey $agent.config "SPOOL_MAX_BYTES")) }}
{{- $warnings = append $warnings (printf "%s.extraEnv: set SPOOL_MAX_BYTES below the sizeLimit %v of the emptyDir, or the pod is evicted when it is reached." $agent.path $limit) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "warnings" $warnings | toJson }}
{{- end }}

{{/* About what watches the agents. */}}
{{- define "exastro-agent.warnings.metrics" -}}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- $metrics := $v.metrics | default dict }}
{{- $warnings := list }}
{{- if and ($metrics.podMonitor | default dict).enabled ($metrics.serviceMonitor | default dict).enabled }}
{{- $warnings = append $warnings "metrics: podMonitor and serviceMonitor are both on, so every metric is read twice." }}
{{- end }}
{{- $isAsked := eq "true" (toString ($v.podDisruptionBudget | default dict).enabled) }}
{{- if and $isAsked (ne "true" (include "exastro-agent.hasBudget" .root)) }}
{{- $warnings = append $warnings "podDisruptionBudget: none is made for one pod, because it could only block the drain of its node." }}
{{- end }}
{{- dict "warnings" $warnings | toJson }}
{{- end }}

{{/* About several pods of one agent. */}}
{{- define "exastro-agent.warnings.replicas" -}}
{{- $warnings := list }}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- $policy := $v.networkPolicy | default dict }}
{{- if eq "true" (include "exastro-agent.isCoordinated" $v) }}
{{- if and $policy.enabled $policy.egress }}
{{- $warnings = append $warnings "networkPolicy.egress must let the agents reach the API server, as they share their settings by its Leases." }}
{{- end }}
{{- else }}
{{- range .model.groups }}
{{- $live := lookup "apps/v1" "Deployment" $.root.Release.Namespace .name | default dict }}
{{- $count := dig "spec" "replicas" 1 $live | int }}
{{- if gt $count 1 }}
{{- $warnings = append $warnings (printf "Deployment %s is at %d pods, but one of them works and the others wait for it: set coordination.enabled: true to let them share the work." .name $count) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "warnings" $warnings | toJson }}
{{- end }}

{{/* About files of agents. Secrets in a ConfigMap are told by their place, without what they are. */}}
{{- define "exastro-agent.warnings.files" -}}
{{- $warnings := list }}
{{- range $entry := (include "exastro-agent.entries" (index .root.Values "ita-ag-oase") | fromJson).entries }}
{{- $document := ($entry.localSettings | default dict).inline | default dict }}
{{- if kindIs "string" $document }}{{ $document = fromYaml $document }}{{ end }}
{{- range $i, $row := ternary $document.settings (list) (kindIs "slice" $document.settings) }}
{{- range $column := list "AUTH_TOKEN" "PASSWORD" "SECRET_ACCESS_KEY" }}
{{- if and (kindIs "map" $row) (get (ternary $row dict (kindIs "map" $row)) $column) }}
{{- $warnings = append $warnings (printf "%s.localSettings.inline: settings[%d].%s goes to a ConfigMap, which is no place for a secret: put it into a Secret, name that in secretFiles, and its key in %s_FILE." $entry.path $i $column $column) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "warnings" $warnings | toJson }}
{{- end }}
