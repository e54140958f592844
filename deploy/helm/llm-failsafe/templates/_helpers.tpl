{{/* The name of everything in the release. It begins with llm-failsafe. */}}
{{- define "llm-failsafe.name" -}}
{{- if hasPrefix "llm-failsafe" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "llm-failsafe-%s" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "llm-failsafe.envoy" -}}
{{- .Values.envoy | default (.Files.Get "files/envoy.yaml") -}}
{{- end }}

{{- define "llm-failsafe.filter" -}}
{{- .Values.filter | default (.Files.Get "files/filter/filter.yaml") -}}
{{- end }}
