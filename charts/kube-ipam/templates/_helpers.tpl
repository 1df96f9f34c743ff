{{- define "kube-ipam.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The runtime's folder of plugins. */ -}}
{{- define "kube-ipam.binDir" -}}
{{- $folders := dict "" "/opt/cni/bin" "k3s" "/var/lib/rancher/k3s/data/cni" "rke2" "/opt/cni/bin" "microk8s" "/var/snap/microk8s/current/opt/cni/bin" "openshift" "/var/lib/cni/bin" -}}
{{- .Values.nodes.binDir | default (get $folders .Values.nodes.preset) -}}
{{- end }}

{{- /* The node defaults, as JSON: those of the values win. */ -}}
{{- define "kube-ipam.defaults" -}}
{{- $store := dict "store" .Values.store -}}
{{- if eq .Values.store "etcd" -}}
{{- if not .Values.etcd.urls -}}
{{- fail "store is etcd, and etcd.urls is empty: set the URLs of etcd's members, or set store to kubernetes" -}}
{{- end -}}
{{- $store = dict "etcdConfig" (dict "etcdURL" (join "," .Values.etcd.urls)) -}}
{{- else if and (eq .Values.store "kubernetes") (ne .Release.Namespace "kube-ipam") -}}
{{- $_ := set $store "kubernetesConfig" (dict "namespace" .Release.Namespace) -}}
{{- end -}}
{{- mustMergeOverwrite $store (deepCopy .Values.defaults) | mustToPrettyJson -}}
{{- end }}

{{- /* The API server of the installer's pods. */ -}}
{{- define "kube-ipam.apiServer" -}}
{{- if .Values.apiServer.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .Values.apiServer.host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .Values.apiServer.port | quote }}
{{- end }}
{{- end }}

{{- define "kube-ipam.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kube-ipam.hasController" -}}
{{- if and .Values.controller.enabled (ne .Values.store "embedded") }}true{{ end -}}
{{- end }}

{{- /* Whether the controller shows the networks of a store that has no objects of its own. */ -}}
{{- define "kube-ipam.networkObjects" -}}
{{- if and .Values.controller.networkObjects (eq .Values.store "etcd") (include "kube-ipam.hasController" .) }}true{{ end -}}
{{- end }}
