{{/* Refusals about pods of one agent that share its settings: what they need, and what would set them against each other. */}}
{{- define "exastro-agent.faults.replicas" -}}
{{- $faults := list }}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- $coordination := $v.coordination | default dict }}
{{- $count := int $v.replicas }}
{{- $max := include "exastro-agent.maxReplicas" $v | int }}
{{- if and (gt $count 1) (eq "false" (toString $coordination.enabled)) }}
{{- $faults = append $faults (printf "replicas is %d, but coordination.enabled is false: one pod would work and the others wait for it. Set coordination.enabled: auto, or replicas: 1." $count) }}
{{- end }}
{{- if eq "true" (include "exastro-agent.isCoordinated" $v) }}
{{- $why := ternary (printf "replicas is %d" $count) "coordination.enabled is true" (gt $count 1) }}
{{- if gt $count $max }}
{{- $faults = append $faults (printf "replicas is %d, but coordination.maxReplicas is %d: no more than that work at a time. Set it to %d, at most 100." $count $max $count) }}
{{- end }}
{{- with include "exastro-agent.fault.account" .root }}{{ $faults = append $faults . }}{{ end }}
{{- range $group := .model.groups }}
{{- range $store := $group.stores }}
{{- with include "exastro-agent.fault.shared" (dict "root" $.root "group" $group "store" $store) }}
{{- $faults = append $faults (printf "%s.%s (%s)" $store.path . $why) }}
{{- end }}
{{- end }}
{{- end }}
{{- $faults = concat $faults ((include "exastro-agent.faults.leases" . | fromJson).faults | default list) }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Takes the root. The Role is bound to an account: to that of all other pods of the namespace it must not be. */}}
{{- define "exastro-agent.fault.account" -}}
{{- $coordination := (index .Values "ita-ag-oase").coordination | default dict }}
{{- if and (ne (toString $coordination.createRole) "false") (eq "default" (include "exastro-agent.account" .)) }}
{{- print "serviceAccount.create: pods that share settings need an account of their own, and that of these values is `default`: set serviceAccount.create: auto, or name one that is there in serviceAccount.name." }}
{{- end }}
{{- end }}

{{/*
(dict "root" $ "group" group "store" store): why pods on several nodes could not share a volume. What the values cannot
tell, as with a claim that is there, the cluster does.
*/}}
{{- define "exastro-agent.fault.shared" -}}
{{- $p := .store.settings }}
{{- $remedy := "set persistence.accessMode: ReadWriteMany and a storageClass that has it" }}
{{- if empty .store.claim }}
{{- print "enabled is false, and pods of one agent must share a volume: set persistence.enabled: true and a storageClass that has ReadWriteMany, or replicas: 1." }}
{{- else if not .store.isOwn }}
{{- $live := lookup "v1" "PersistentVolumeClaim" .root.Release.Namespace .store.claim }}
{{- $modes := dig "spec" "accessModes" (list) ($live | default dict) }}
{{- if and $live (not (has "ReadWriteMany" $modes)) }}
{{- printf "existingClaim: pods of one agent must share a volume, and the claim %s has %s: name one with ReadWriteMany, or set replicas: 1." .store.claim (join ", " $modes) }}
{{- end }}
{{- else if ne "ReadWriteMany" ($p.accessMode | default "ReadWriteMany") }}
{{- printf "accessMode is %s, and pods of one agent must share a volume: %s, or replicas: 1." $p.accessMode $remedy }}
{{- else if eq "true" (include "exastro-agent.isPerNode" .) }}
{{- print "volumeType is hostPath, so every node would have a folder of its own, and pods of one agent must share a volume: set a storageClass that has ReadWriteMany. If a volume made by hand is the same on all nodes, set persistence.volumeType to what it is, such as NFS. To have all pods on one node, name it in nodeSelector (kubernetes.io/hostname)." }}
{{- end }}
{{- end }}

{{/* (dict "group" group "store" store): "true" if the folder is another one on each node, and pods may be on several. */}}
{{- define "exastro-agent.isPerNode" -}}
{{- $isHostPath := eq "true" (include "exastro-agent.needsOwner" (dict "store" .store "mode" "auto")) }}
{{- $made := .store.settings.hostPath | default dict }}
{{- $isOnOneNode := or (hasKey (.group.settings.nodeSelector | default dict) "kubernetes.io/hostname") (and (eq "true" (toString $made.create)) $made.nodeName) }}
{{- and $isHostPath (not $isOnOneNode) }}
{{- end }}

{{/* What the names of Leases are made of must be seen from here, and two agents must not have the same. */}}
{{- define "exastro-agent.faults.leases" -}}
{{- $faults := list }}
{{- $coordination := (index .root.Values "ita-ag-oase").coordination | default dict }}
{{- $seen := dict }}
{{- range $group := .model.groups }}
{{- range $agent := $group.agents }}
{{- range $name := list "COORDINATION" "COORDINATION_SLOTS" "COORDINATION_VOLUME" }}
{{- range $variable := list $name (printf "%s_FILE" $name) }}
{{- with (include "exastro-agent.given" (list $agent $variable) | fromJson).key }}
{{- $faults = append $faults (printf "%s.%s: the chart itself tells the pods how they share: remove it, and see coordination." $agent.path .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if ne "false" (toString $coordination.createRole) }}
{{- range $name := list "EXASTRO_ORGANIZATION_ID" "EXASTRO_WORKSPACE_ID" "AGENT_NAME" "EVENT_COLLECTION_SETTINGS_NAMES" }}
{{- $isLeftOut := and (eq $name "EVENT_COLLECTION_SETTINGS_NAMES") (eq "only" (include "exastro-agent.settingsMode" $agent)) }}
{{- if not (or (hasKey $agent.config $name) $isLeftOut) }}
{{- $faults = append $faults (printf "%s.extraEnv.%s must be there, and nowhere else, for pods that share settings: the Role is bound to names that are made of it. Or set coordination.createRole: false and make the Role by hand." $agent.path $name) }}
{{- end }}
{{- end }}
{{- range $file := $agent.files }}
{{- if and (eq $file.kind "localSettings") (not $file.isOwn) (empty $agent.localNames) }}
{{- $faults = append $faults (printf "%s.localSettings.names is empty: for pods that share settings, list the names of the settings in the ConfigMap %s there, as the Role is bound to them." $agent.path $file.configMap) }}
{{- end }}
{{- end }}
{{- end }}
{{- $base := include "exastro-agent.leaseBase" $agent }}
{{- if hasKey $seen $base }}
{{- $faults = append $faults (printf "%s.extraEnv.AGENT_NAME is %q as in ita-ag-oase.%s of the same organization and workspace, so their pods would take each other's settings: give one of them another name." $agent.path $agent.name (get $seen $base)) }}
{{- end }}
{{- $_ := set $seen $base $agent.path }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* Takes an agent: SETTINGS_FILE_MODE, wherever the values set it. */}}
{{- define "exastro-agent.settingsMode" -}}
{{- $mode := (include "exastro-agent.given" (list . "SETTINGS_FILE_MODE") | fromJson).text }}
{{- range .files }}
{{- if eq .kind "localSettings" }}{{ $mode = $.mode }}{{ end }}
{{- end }}
{{- $mode }}
{{- end }}
