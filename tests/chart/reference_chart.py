"""A stand-in for the chart `exastro-agent` 2.7: a small chart of our own that renders what that one renders.

Names, labels, selector, environment, volumes and claim are those of the wire contract, section 10.1; so are its
defects that an upgrade meets: no `replicas`, no strategy, no keep mark on the claim, secrets with YAML's quotes.
"""

from pathlib import Path

_CHART = """\
apiVersion: v2
name: exastro-agent
version: 2.7.3
appVersion: "2.7.1"
"""

_VALUES = """\
global:
  agentGlobalDefinition:
    name: agent-global
    enabled: true
    image: {registry: docker.io, organization: exastro, package: exastro-it-automation}
ita-ag-oase:
  agents:
    - image: {repository: "", tag: "", pullPolicy: IfNotPresent}
      extraEnv:
        TZ: Asia/Tokyo
        DEFAULT_LANGUAGE: ja
        LANGUAGE: en
        ITERATION: "500"
        EXECUTE_INTERVAL: "10"
        LOG_LEVEL: INFO
        AGENT_NAME: oase-agent
        EXASTRO_URL: http://platform-auth:8000
        EXASTRO_ORGANIZATION_ID: org001
        EXASTRO_WORKSPACE_ID: ws01
        EVENT_COLLECTION_SETTINGS_NAMES: id0001
      secret: {EXASTRO_REFRESH_TOKEN: change-this-token}
      resources: {}
  nameOverride: ""
  persistence:
    enabled: true
    accessMode: ReadWriteMany
    size: 10Gi
    storageClass: "-"
    mountPath: {storage: /storage, homeDir: /home/app_user, tmp: /tmp}
  podAnnotations: {}
  podSecurityContext: {}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    runAsUser: 1000
    runAsGroup: 1000
    runAsNonRoot: true
"""

_NAMES = """\
{{- define "base" }}{{ (index .Values "ita-ag-oase").nameOverride | default "ita-ag-oase" | trunc 63 }}{{ end }}
{{- define "selector" }}
app.kubernetes.io/name: {{ include "base" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "labels" }}
helm.sh/chart: ita-ag-oase-2.7.3
{{- include "selector" . }}
app.kubernetes.io/version: "2.7.1"
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
"""

_SETTINGS = """\
{{- range (index .Values "ita-ag-oase").agents }}
{{- $agent := printf "%s-%s" (include "base" $) .extraEnv.AGENT_NAME | trunc 63 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: params-{{ $agent }}
  labels: {{- include "labels" $ | indent 4 }}
data: {{- toYaml .extraEnv | nindent 2 }}
---
apiVersion: v1
kind: Secret
metadata:
  name: secret-{{ $agent }}
  labels: {{- include "labels" $ | indent 4 }}
data:
{{- range $key, $value := .secret }}
  {{ $key }}: {{ toYaml $value | b64enc }}
{{- end }}
{{- end }}
"""

_CLAIM = """\
{{- with (index .Values "ita-ag-oase").persistence }}
{{- if .enabled }}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: pvc-{{ include "base" $ }}
  labels: {{- include "labels" $ | indent 4 }}
spec:
  accessModes: [{{ .accessMode }}]
  resources: {requests: {storage: {{ .size }}}}
{{- if .volumeName }}
  volumeName: {{ .volumeName }}
{{- end }}
{{- if eq .storageClass "-" }}
  storageClassName: ""
{{- else if .storageClass }}
  storageClassName: {{ .storageClass }}
{{- end }}
{{- if and .matchLabels .matchExpressions }}
  selector:
    matchLabels: {{- toYaml .matchLabels | nindent 6 }}
    matchExpressions: {{- toYaml .matchExpressions | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}
"""

_DEPLOYMENT = """\
{{- $base := include "base" . }}
{{- $image := .Values.global.agentGlobalDefinition.image }}
{{- $prefix := printf "%s/%s/%s" $image.registry $image.organization $image.package }}
{{- with index .Values "ita-ag-oase" }}
{{- $persistence := .persistence }}
{{- $security := .securityContext }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $base }}
  labels: {{- include "labels" $ | indent 4 }}
spec:
  selector:
    matchLabels: {{- include "selector" $ | indent 6 }}
  template:
    metadata:
      labels: {{- include "selector" $ | indent 8 }}
    spec:
      serviceAccountName: default
      securityContext: {{- toYaml .podSecurityContext | nindent 8 }}
      initContainers:
        - name: setup-storage
          image: registry.access.redhat.com/ubi8/ubi-init:latest
          command: [/bin/sh, -c, "chown {{ $security.runAsUser }} {{ $persistence.mountPath.storage }}"]
          volumeMounts:
            - {name: volume-{{ $base }}-storage, mountPath: {{ $persistence.mountPath.storage }}}
      containers:
{{- range .agents }}
{{- $agent := printf "%s-%s" $base .extraEnv.AGENT_NAME | trunc 63 }}
        - name: {{ $agent }}
          image: {{ .image.repository | default (printf "%s-ag-oase" $prefix) }}:{{ .image.tag | default "2.7.1" }}
          imagePullPolicy: {{ .image.pullPolicy }}
          env:
{{- range $key, $value := .extraEnv }}
            - {name: {{ $key }}, valueFrom: {configMapKeyRef: {name: params-{{ $agent }}, key: {{ $key }}}}}
{{- end }}
{{- range $key, $value := .secret }}
            - {name: {{ $key }}, valueFrom: {secretKeyRef: {name: secret-{{ $agent }}, key: {{ $key }}}}}
{{- end }}
          securityContext: {{- toYaml $security | nindent 12 }}
          resources: {{- toYaml .resources | nindent 12 }}
          volumeMounts:
            - {name: volume-{{ $base }}-storage, mountPath: {{ $persistence.mountPath.storage }}}
            - {name: volume-{{ $base }}-homedir, mountPath: {{ $persistence.mountPath.homeDir }}}
            - {name: volume-{{ $base }}-tmp, mountPath: {{ $persistence.mountPath.tmp }}}
{{- end }}
      volumes:
        - name: volume-{{ $base }}-storage
{{- if $persistence.enabled }}
          persistentVolumeClaim: {claimName: pvc-{{ $base }}}
{{- else }}
          emptyDir: {}
{{- end }}
{{- range list "homedir" "pid" "socket" "tmp" }}
        - {name: volume-{{ $base }}-{{ . }}, emptyDir: {}}
{{- end }}
{{- end }}
"""

_FILES = {
    "Chart.yaml": _CHART,
    "values.yaml": _VALUES,
    "templates/_names.tpl": _NAMES,
    "templates/settings.yaml": _SETTINGS,
    "templates/claim.yaml": _CLAIM,
    "templates/deployment.yaml": _DEPLOYMENT,
}


def write_reference_chart(folder: Path) -> Path:
    """Write the chart into a folder and return that folder."""
    for path, text in _FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder
