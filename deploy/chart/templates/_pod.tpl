{{/* What every pod has in common: account, volumes, and the container's image and surroundings. */}}
{{- define "fusion.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: home
    persistentVolumeClaim: {claimName: {{ include "fusion.claim" . }}}
  - name: data
    persistentVolumeClaim: {claimName: {{ .Values.data.existingClaim }}, readOnly: true}
  - name: scratch
    emptyDir: {}
{{- end }}

{{- define "fusion.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - name: HOME
    value: /tmp
  - name: REDIS_URL
    valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: REDIS_URL}}
  - name: FUSION_API_KEY
    valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: FUSION_API_KEY}}
  {{- range $name, $value := .Values.env }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
volumeMounts:
  - {name: home, mountPath: /var/lib/feast-fusion}
  - {name: data, mountPath: /data, readOnly: true}
  - {name: scratch, mountPath: /tmp}
{{- end }}
