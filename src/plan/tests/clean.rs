//! Manifests without a mistake, in every shape that charts, kustomize and kubectl give them. A plan that cries wolf is
//! switched off.

use super::{NETWORK, planned};

struct Case {
    name: &'static str,
    text: &'static str,
}

const CASES: [Case; 21] = [
    Case { name: "nothing", text: "" },
    Case { name: "comments alone", text: "# nothing\n---\n# here\n" },
    Case { name: "empty documents", text: "---\n---\n\n---\n# Source: web/templates/a.yaml\n---\n...\n---\n" },
    Case { name: "a directive", text: "%YAML 1.2\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n" },
    Case {
        name: "values of a chart",
        text: "image: {repository: web, tag: ''}\nreplicas: 2\nkind: DaemonSet\nannotations: {}\n",
    },
    Case {
        name: "files of other programs that have a type and plugins",
        text: "name: load\ntype: steady-state\ncount: 5\n---\nname: load\ntype: steady-state\n---\nname: lint\nplugins: [a, b]\n",
    },
    Case { name: "an empty List", text: "apiVersion: v1\nkind: List\nitems: []\n" },
    Case {
        name: "a List without items",
        text: "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n",
    },
    Case {
        name: "a schema with the names of our kinds, anchors and integers that are strings",
        text: r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations: {controller-gen.kubebuilder.io/version: v0.16.0}
  name: network-attachment-definitions.k8s.cni.cncf.io
spec:
  group: k8s.cni.cncf.io
  names: {kind: NetworkAttachmentDefinition, plural: network-attachment-definitions, shortNames: [net-attach-def]}
  scope: Namespaced
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        description: 'A definition: its `spec.config` is JSON, "like this", {{or that}}.'
        properties:
          spec:
            properties: &properties
              config: {type: string}
              port:
                anyOf: [{type: integer}, {type: string}]
                x-kubernetes-int-or-string: true
              ipam: {type: object, properties: {type: {type: string, enum: [kube-ipam]}}}
            type: object
          status:
            properties:
              <<: *properties
              y: {type: boolean, default: yes}
        type: object
    served: true
    storage: true
"#,
    },
    Case {
        name: "a network without a configuration, which is a file on the nodes",
        text: "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: sriov-net}\n---\n\
               apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: empty}\nspec: {config: ''}\n---\n\
               apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {k8s.v1.cni.cncf.io/networks: 'sriov-net, empty@x'}}\n",
    },
    Case {
        name: "a network of another address manager, which may overlap and misspell",
        text: r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: macvlan-a, annotations: {k8s.v1.cni.cncf.io/resourceName: vendor.com/nic}}
spec:
  config: '{
      "cniVersion": "0.3.1", "type": "macvlan", "master": "eth0", "mode": "bridge",
      "ipam": {"type": "whereabouts", "range": "10.1.0.0/24", "exclud": [], "range_start": "10.1.0.300"}
    }'
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: macvlan-b}
spec:
  config: |-
    {"cniVersion": "0.3.1", "name": "b b", "plugins": [
      {"type": "bridge", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}},
      {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations:
    k8s.v1.cni.cncf.io/networks: |
      [{"name": "macvlan-a", "ips": ["10.1.0.7/24"], "mac": "02:00:00:00:00:01"},
       {"name": "macvlan-b", "default-route": ["10.1.0.1"]}]
    cni.projectcalico.org/ipAddrs: '["10.244.0.5"]'
spec: {containers: [{name: a, image: a}]}
"#,
    },
    Case {
        name: "a network without ipam, such as a bridge of KubeVirt",
        text: r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: red}
spec: {config: '{"cniVersion": "0.3.1", "name": "red", "plugins": [{"type": "cnv-bridge", "bridge": "br1", "vlan": 10}]}'}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata: {name: vmi}
spec:
  domain:
    devices:
      disks: [{disk: {bus: virtio}, name: root}]
      interfaces: [{masquerade: {}, name: default, ports: [{port: 80}]}, {bridge: {}, name: red}]
    resources: {requests: {memory: 64M}}
  networks: [{name: default, pod: {}}, {name: red, multus: {networkName: red}}]
  volumes: [{name: root, cloudInitNoCloud: {userData: '#cloud-config'}}]
"#,
    },
    Case {
        name: "a DaemonSet of helm with a conflist in its ConfigMap",
        text: r#"
---
# Source: multus/templates/config.yaml
kind: ConfigMap
apiVersion: v1
metadata: {name: multus-cni-config, namespace: kube-system, labels: {tier: node}}
data:
  # It is replaced at the start.
  cni-conf.json: |
    {"name": "multus-cni-network", "type": "multus", "delegates": [{"type": "flannel", "name": "flannel.1"}], "kubeconfig": "/etc/x"}
---
# Source: multus/templates/daemonset.yaml
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-multus-ds, namespace: kube-system}
spec:
  selector: {matchLabels: {name: multus}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 10%}}
  template:
    metadata: {labels: {tier: node, name: multus}}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists, effect: NoSchedule}]
      containers: [{name: multus, image: multus, args: ["--cni-version=0.3.1", '-x={{"a"}}'], securityContext: {privileged: true}}]
"#,
    },
    Case {
        name: "what kubectl prints, with managed fields",
        text: r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  annotations:
    deployment.kubernetes.io/revision: "1"
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"kube-ipam.net1.ip":"10.1.0.5"},"name":"web"}}
  managedFields:
  - apiVersion: apps/v1
    fieldsType: FieldsV1
    fieldsV1: {"f:spec": {"f:replicas": {}, "f:template": {"f:metadata": {"f:annotations": {".": {}, "f:kube-ipam.net1.ip": {}}}}}}
    manager: kubectl-client-side-apply
    operation: Update
  name: web
  uid: 3f0c9a1e-5b1f-4c0e-8f57-0a6b7c1d2e3f
spec:
  replicas: 1
  strategy: {rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}, type: RollingUpdate}
  template: {metadata: {creationTimestamp: null, labels: {app: web}}, spec: {containers: [{image: a, name: a}]}}
status: {conditions: [{type: Available, status: "True"}], observedGeneration: 1}
"#,
    },
    Case {
        name: "a patch of kustomize, which lacks what the base has",
        text: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n---\napiVersion: apps/v1\nkind: Deployment\n\
               metadata: {name: web}\nspec: {template: {metadata: null, spec: {$patch: replace, containers: []}}}\n",
    },
    Case {
        name: "a JSON patch",
        text: "- op: replace\n  path: /spec/template/metadata/annotations/kube-ipam.net1.ip\n  value: 10.1.0.5\n- {op: remove, path: /spec/replicas}\n",
    },
    Case {
        name: "ports and quantities that are text or numbers",
        text: "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, targetPort: http}, {port: 0x50, targetPort: 8_080}]}\n",
    },
    Case {
        name: "the default network of Multus on a file of the node",
        text: "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: calico, namespace: kube-system}\n---\n\
               apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {v1.multus-cni.io/default-network: kube-system/calico}}\n",
    },
    Case {
        name: "what is no object of Kubernetes",
        text: "services: {web: {image: nginx, ports: [\"8080:80\"], command: [--a, 'b: c']}}\nx-common: &c {a: 1}\ny: {<<: *c, b: 2}\n---\n[1, 2]\n---\ntext\n",
    },
    Case {
        name: "a text with all that YAML can do to one",
        text: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d}\ndata:\n  a.sh: |2-\n      #!/bin/sh\n    echo \"{{ .Values }}\"\n  b: >+\n    \
               folded\n\n    text\n\n  c: 'it''s'\n  d: \"\\u00fc \\\n    \\t\"\n  ? complex\n  : key\nbinaryData: {e: !!binary aGVsbG8=}\n",
    },
    Case {
        name: "names that begin with ours",
        text: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations: {kube-ipam.example.com/ip: 10.9.0.1, kube-ipam/ip: x}\n  \
               labels: {kube-ipam.net1.ip: x}\n",
    },
];

#[test]
fn a_manifest_without_a_mistake_has_no_finding() {
    for Case { name, text } in CASES {
        for text in [text.to_owned(), text.replace('\n', "\r\n"), ["\u{feff}", text].concat()] {
            let (_, report) = planned(&text);
            assert_eq!(report.findings, [], "{name}");
        }
    }
}

#[test]
fn they_are_passed_over_also_between_networks_and_pods() {
    let between: Vec<&str> = CASES.iter().map(|case| case.text).filter(|text| !text.starts_with('%')).collect();
    let (_, report) = planned(&format!("{NETWORK}{}", between.join("\n---\n").replace("name: a,", "name: b,")));
    assert_eq!(report.findings, []);
    assert_eq!(report.networks.len(), 1);
}

#[test]
fn a_schema_of_a_megabyte_is_passed_over() {
    let property = |i: usize| {
        format!("          field{i}: {{type: string, description: \"The field {i}: `kube-ipam` has none\"}}\n")
    };
    let properties: String = (0..12_000).map(property).collect();
    let text = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: large}}\nspec:\n  versions:\n  - schema:\n      \
         openAPIV3Schema:\n        properties:\n{properties}"
    );
    assert!(text.len() > 900_000);
    let (_, report) = planned(&text);
    assert_eq!(report.findings, []);
}
