{{/* Keys that change nothing: those of 2.7 that never did or need not any more, and those that nobody knows. */}}
{{- define "exastro-agent.warnings.dead" -}}
{{- $v := index .root.Values "ita-ag-oase" }}
{{- $global := (.root.Values.global | default dict).agentGlobalDefinition | default dict }}
{{- $init := $v.initContainerImage | default dict }}
{{- $p := $v.persistence | default dict }}
{{- $pid := ($p.mountPath | default dict).pid | default dict }}
{{- $socket := ($p.mountPath | default dict).socket | default dict }}
{{- $ingress := dict "enabled" false "className" "" "annotations" (dict) "tls" (list) }}
{{- $path := dict "path" "/" "pathType" "ImplementationSpecific" }}
{{- $_ := set $ingress "hosts" (list (dict "host" "chart-example.local" "paths" (list $path))) }}
{{- $warnings := list }}
{{- $rows := list
  (list "global.agentGlobalDefinition.name" $global.name "agent-global")
  (list "global.agentGlobalDefinition.enabled" $global.enabled true)
  (list "ita-ag-oase.fullnameOverride" $v.fullnameOverride "")
  (list "ita-ag-oase.initContainerImage.repository" $init.repository "registry.access.redhat.com/ubi8/ubi-init")
  (list "ita-ag-oase.initContainerImage.pullPolicy" $init.pullPolicy "IfNotPresent")
  (list "ita-ag-oase.initContainerImage.tag" $init.tag "")
  (list "ita-ag-oase.persistence.reinstall" $p.reinstall false)
  (list "ita-ag-oase.persistence.mountPath.pid.path" $pid.path "/var/run_app_user/httpd/pid")
  (list "ita-ag-oase.persistence.mountPath.pid.subPath" $pid.subPath "httpd-pid")
  (list "ita-ag-oase.persistence.mountPath.socket.path" $socket.path "/var/run_app_user/httpd/socket")
  (list "ita-ag-oase.persistence.mountPath.socket.subPath" $socket.subPath "httpd-socket")
  (list "ita-ag-oase.service" $v.service (dict))
  (list "ita-ag-oase.ingress" $v.ingress $ingress)
}}
{{- range $rows }}
{{- if not (or (kindIs "invalid" (index . 1)) (eq (toJson (index . 1)) (toJson (index . 2)))) }}
{{- $warnings = append $warnings (printf "%s has no effect." (index . 0)) }}
{{- end }}
{{- end }}
{{- if kindIs "invalid" $v.probes }}
{{- $warnings = append $warnings "ita-ag-oase.probes and other defaults of this chart are missing, as with --reuse-values after 2.7: upgrade with --values and your file." }}
{{- end }}
{{- if and (empty $p.selector) (ne (empty $p.matchLabels) (empty $p.matchExpressions)) }}
{{- $warnings = append $warnings "ita-ag-oase.persistence.matchLabels and matchExpressions have an effect only together; for new claims use persistence.selector." }}
{{- end }}
{{- $known :=
  list "enabled" "layout" "agentDefaults" "agents" "agentsByName" "pods" "replicas" "keepScaledToZero" "coordination"
    "imagePullSecrets" "nameOverride" "fullnameOverride" "initContainerImage" "volumePermissions"
    "serviceAccount" "strategy" "rollOnChange" "persistence" "podAnnotations" "podLabels" "commonLabels"
    "commonAnnotations" "podSecurityContext" "securityContext" "adminPort" "probes" "metrics" "networkPolicy"
    "podDisruptionBudget" "terminationGracePeriodSeconds" "priorityClassName" "nodeSelector" "tolerations"
    "affinity" "topologySpreadConstraints" "extraVolumes" "extraVolumeMounts" "extraContainers"
    "initContainers" "extraObjects" "tests" "service" "ingress"
}}
{{- range $key := keys $v | sortAlpha }}
{{- if not (has $key $known) }}
{{- $warnings = append $warnings (printf "ita-ag-oase.%s is no key of this chart and has no effect." $key) }}
{{- end }}
{{- end }}
{{- $known =
  list "path" "name" "key" "image" "extraEnv" "secret" "existingSecret" "pod" "env" "envFrom" "resources" "probes"
    "persistence" "extraVolumeMounts" "sourceOptions" "localSettings"
}}
{{- range $entry := (include "exastro-agent.entries" $v | fromJson).entries }}
{{- range $key := keys $entry | sortAlpha }}
{{- if not (has $key $known) }}
{{- $warnings = append $warnings (printf "ita-ag-oase.%s.%s is no key of this chart and has no effect." $entry.path $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "warnings" $warnings | toJson }}
{{- end }}
