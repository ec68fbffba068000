{{/* Refusals that look at what is in the cluster: claims and the service account. Nothing is found without a cluster. */}}

{{/* Claims and volumes that would meet, and claims whose specification cannot change. */}}
{{- define "exastro-agent.faults.claims" -}}
{{- $faults := list }}
{{- $claims := dict }}
{{- $folders := dict }}
{{- range $group := .model.groups }}
{{- range $store := $group.stores }}
{{- if $store.isOwn }}
{{- if hasKey $claims $store.claim }}
{{- $faults = append $faults (printf "%s: the claim %s would be made twice: choose another AGENT_NAME or `pod`." $store.path $store.claim) }}
{{- end }}
{{- $_ := set $claims $store.claim "" }}
{{- $folder := include "exastro-agent.hostPath" $store }}
{{- if eq (toString ($store.settings.hostPath | default dict).create) "true" }}
{{- if hasKey $folders $folder }}
{{- $faults = append $faults (printf "%s.hostPath.path: the volumes of %s and %s would be one folder: leave the path empty, or set it per pod in pods.<key>.persistence." $store.path (get $folders $folder) $store.claim) }}
{{- end }}
{{- $_ := set $folders $folder $store.claim }}
{{- end }}
{{- $found := include "exastro-agent.faults.claim" (dict "root" $.root "store" $store) | fromJson }}
{{- $faults = concat $faults ($found.faults | default list) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/*
Claims of this release that these values no longer make: Helm deletes them, with the spools in them, unless they are
marked. Claims of 2.7 are not marked.
*/}}
{{- define "exastro-agent.faults.dropped" -}}
{{- $faults := list }}
{{- $release := .root.Release }}
{{- $claims := list }}
{{- range .model.groups }}
{{- range .stores }}{{ if .isOwn }}{{ $claims = append $claims .claim }}{{ end }}{{ end }}
{{- end }}
{{- $persistence := (index .root.Values "ita-ag-oase").persistence | default dict }}
{{- if and $release.IsUpgrade (ne (toString $persistence.retain) "false") }}
{{- range $claim := (lookup "v1" "PersistentVolumeClaim" $release.Namespace "").items | default list }}
{{- $name := $claim.metadata.name }}
{{- $marks := $claim.metadata.annotations | default dict }}
{{- $isOurs := eq $release.Name (toString (get $marks "meta.helm.sh/release-name")) }}
{{- $isKept := eq "keep" (toString (get $marks "helm.sh/resource-policy")) }}
{{- if and $isOurs (not $isKept) (not (has $name $claims)) }}
{{- $command := printf "kubectl annotate pvc %s --namespace %s helm.sh/resource-policy=keep" $name $release.Namespace }}
{{- $faults = append $faults (printf "persistence: these values no longer make the claim %s, so Helm would delete it with everything in it. Keep it with `%s`, then repeat this; or let it go with persistence.retain: false." $name $command) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* (dict "root" $ "store" store): what differs from the claim in the cluster and cannot be changed there. */}}
{{- define "exastro-agent.faults.claim" -}}
{{- $faults := list }}
{{- $p := .store.settings }}
{{- $live := lookup "v1" "PersistentVolumeClaim" .root.Release.Namespace .store.claim }}
{{- if $live }}
{{- $remedy := "or use another claim with persistence.existingClaim" }}
{{- $class := ternary "" ($p.storageClass | default "") (eq (toString $p.storageClass) "-") }}
{{- $liveClass := dig "spec" "storageClassName" "" $live }}
{{- if and $p.storageClass (ne $class $liveClass) }}
{{- $faults = append $faults (printf "%s.storageClass is %q, but the claim %s has %q, which cannot change: set it to %q, %s." .store.path $p.storageClass .store.claim $liveClass ($liveClass | default "-") $remedy) }}
{{- end }}
{{- $modes := dig "spec" "accessModes" (list) $live }}
{{- $mode := $p.accessMode | default "ReadWriteMany" }}
{{- if ne (toJson (list $mode)) (toJson $modes) }}
{{- $faults = append $faults (printf "%s.accessMode is %s, but the claim %s has %s, which cannot change: set it to that, %s." .store.path $mode .store.claim (join ", " $modes) $remedy) }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}

{{/* An account that is there already, made by someone else; Helm would stop with a message about labels. */}}
{{- define "exastro-agent.faults.account" -}}
{{- $faults := list }}
{{- if eq "true" (include "exastro-agent.makesAccount" (index .root.Values "ita-ag-oase")) }}
{{- $name := include "exastro-agent.account" .root }}
{{- $live := lookup "v1" "ServiceAccount" .root.Release.Namespace $name }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $live }}
{{- if or (eq $name "default") (and $live (ne $owner .root.Release.Name)) }}
{{- $faults = append $faults (printf "serviceAccount.create: the chart would make the account %s, but it is there already and not of this release: set serviceAccount.create: false and name: %s to use it, or give another name." $name $name) }}
{{- end }}
{{- end }}
{{- dict "faults" $faults | toJson }}
{{- end }}
