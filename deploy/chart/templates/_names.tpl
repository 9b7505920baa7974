{{- define "fusion.name" -}}
{{- printf "%s" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "fusion.selector" -}}
app.kubernetes.io/name: feast-fusion
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fusion.labels" -}}
{{ include "fusion.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "fusion.claim" -}}
{{- .Values.home.existingClaim | default (printf "%s-home" (include "fusion.name" .)) -}}
{{- end }}
