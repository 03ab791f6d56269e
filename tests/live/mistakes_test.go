package live

// mistake is what a student may get wrong: the text's manifest with one thing changed,
// or a command.
type mistake struct {
	what string // in words, for the table
	file string // of the text
	// was is what stands in the file, once, and is what stands there instead.
	was, is string
	also    [][2]string // further places of the same mistake
	without bool        // the object that was there before is deleted first: a selector cannot be changed
	kubectl string      // what a student types instead

	check string   // the one that is red
	names []string // what its hint names: the object, the field, what was seen there
	undo  string   // a kubectl command, where applying the text again is not enough
}

const (
	appFile        = "app.yml"
	serviceFile    = "service.yml"
	exporterFile   = "node-exporter.yml"
	roleFile       = "role-based-access-control.yml"
	prometheusFile = "prometheus.yml"
)

// mistakes are rows of the table in docs/mistakes.md, in the text's order.
var mistakes = []mistake{
	{what: "a worker is cordoned", kubectl: "cordon WORKER", undo: "uncordon WORKER",
		check: "0-3/schedulable", names: []string{"WORKER", "spec.unschedulable"}},

	{what: "the Deployment's name is misspelt", file: appFile, was: "  name: bootcamp\nspec", is: "  name: bootcmp\nspec", without: true, undo: "delete deployment bootcmp",
		check: "3-2/deployment", names: []string{"Deployment bootcamp", "Deployment bootcmp", "metadata.name"}},
	{what: "it is in another namespace", file: appFile, was: "  name: bootcamp\nspec", is: "  name: bootcamp\n  namespace: kube-public\nspec", without: true, undo: "delete deployment bootcamp -n kube-public",
		check: "3-2/deployment", names: []string{"Deployment bootcamp", "kube-public", "metadata.namespace"}},
	{what: "the label is misspelt, in selector and template", file: appFile, was: "      app: bootcamp\n  template", is: "      app: bootcmp\n  template", also: [][2]string{{"        app: bootcamp\n    spec", "        app: bootcmp\n    spec"}}, without: true, undo: "delete deployment bootcamp",
		check: "3-2/label", names: []string{"Deployment bootcamp", "spec.template.metadata.labels", "app=bootcmp"}},
	{what: "the label has another key", file: appFile, was: "      app: bootcamp\n  template", is: "      name: bootcamp\n  template", also: [][2]string{{"        app: bootcamp\n    spec", "        name: bootcamp\n    spec"}}, without: true, undo: "delete deployment bootcamp",
		check: "3-2/label", names: []string{"Deployment bootcamp", "spec.template.metadata.labels", "name=bootcamp"}},
	{what: "the image has another tag", file: appFile, was: "echoserver:1.4", is: "echoserver:1.44",
		check: "3-2/pods", names: []string{"Deployment bootcamp", "spec.template.spec.containers[bootcamp-app].image", "echoserver:1.44"}},
	{what: "the container has a command that is not there", file: appFile, was: "        ports:\n", is: "        command: [/nowhere]\n        ports:\n",
		check: "3-2/pods", names: []string{"Deployment bootcamp", "bootcamp-app", "/nowhere"}},
	{what: "the pods ask for more than any node has", file: appFile, was: "        ports:\n", is: "        resources: {requests: {cpu: 900}}\n        ports:\n",
		check: "3-2/pods", names: []string{"Deployment bootcamp", "Insufficient cpu", "resources.requests"}},
	{what: "the pods ask for a node with a label that none has", file: appFile, was: "      restartPolicy: Always", is: "      nodeSelector: {disk: ssd}\n      restartPolicy: Always",
		check: "3-2/pods", names: []string{"Deployment bootcamp", "spec.template.spec", "nodeSelector", "disk=ssd"}},
	{what: "the container's port is another", file: appFile, was: "containerPort: 8080", is: "containerPort: 8008",
		check: "3-2/port", names: []string{"Deployment bootcamp", "containerPort", "8008", "8080"}},
	{what: "replicas is 0", file: appFile, was: "replicas: 2", is: "replicas: 0",
		check: "3-2/replicas", names: []string{"Deployment bootcamp", "spec.replicas"}},

	{what: "the Service's name is misspelt", file: serviceFile, was: "name: bootcamp-svc", is: "name: bootcamp-srv", kubectl: "delete service bootcamp-svc", undo: "delete service bootcamp-srv",
		check: "3-3/service", names: []string{"Service bootcamp-svc", "Service bootcamp-srv", "metadata.name"}},
	{what: "its selector is misspelt", file: serviceFile, was: "    app: bootcamp", is: "    app: bootcmp",
		check: "3-3/selector", names: []string{"Service bootcamp-svc", "spec.selector", "app=bootcmp", "app=bootcamp"}},
	{what: "its selector asks for a label more", file: serviceFile, was: "    app: bootcamp", is: "    app: bootcamp\n    tier: web",
		check: "3-3/selector", names: []string{"Service bootcamp-svc", "spec.selector", "tier=web"}},
	{what: "its target port is one on which nobody listens", file: serviceFile, was: "targetPort: 8080", is: "targetPort: 80",
		check: "3-3/target", names: []string{"Service bootcamp-svc", "spec.ports[0].targetPort", "80", "nobody listens"}},
	{what: "its target port is a name that no port has", file: serviceFile, was: "targetPort: 8080", is: "targetPort: http",
		check: "3-3/target", names: []string{"Service bootcamp-svc", "spec.ports[0].targetPort", "http"}},
	{what: "its port is another", file: serviceFile, was: "port: 80\n", is: "port: 8080\n",
		check: "3-3/port", names: []string{"Service bootcamp-svc", "spec.ports[].port", "8080/TCP"}},
	{what: "its protocol is another", file: serviceFile, was: "protocol: TCP", is: "protocol: UDP", kubectl: "delete service bootcamp-svc", undo: "delete service bootcamp-svc",
		check: "3-3/port", names: []string{"Service bootcamp-svc", "protocol", "80/UDP"}},

	{what: "a pod of the same label was made by hand", kubectl: "run by-hand --image=registry.k8s.io/echoserver:1.4 --labels=app=bootcamp", undo: "delete pod by-hand --now",
		check: "3-4/owner", names: []string{"Pod by-hand", "metadata.ownerReferences"}},

	{what: "it is a Deployment", file: exporterFile, was: "kind: DaemonSet", is: "kind: Deployment", kubectl: "delete daemonset node-exporter", undo: "delete deployment node-exporter",
		check: "4-1/daemonset", names: []string{"Deployment node-exporter", "DaemonSet", "kind"}},
	{what: "there is no toleration", file: exporterFile, was: `      tolerations:
        - key: node-role.kubernetes.io/control-plane
          operator: Exists
          value: ''
          effect: NoSchedule
`, is: "",
		check: "4-1/toleration", names: []string{"DaemonSet node-exporter", "spec.template.spec.tolerations", "node-role.kubernetes.io/control-plane:NoSchedule"}},
	{what: "the toleration's key is misspelt", file: exporterFile, was: "node-role.kubernetes.io/control-plane", is: "node-role.kubernetes.io/controlplane",
		check: "4-1/toleration", names: []string{"DaemonSet node-exporter", "spec.template.spec.tolerations", "node-role.kubernetes.io/controlplane:NoSchedule"}},
	{what: "the toleration's effect is another", file: exporterFile, was: "effect: NoSchedule", is: "effect: NoExecute",
		check: "4-1/toleration", names: []string{"DaemonSet node-exporter", "spec.template.spec.tolerations", "NoExecute"}},
	{what: "hostNetwork is missing", file: exporterFile, was: "      hostNetwork: true\n", is: "",
		check: "4-1/host", names: []string{"DaemonSet node-exporter", "spec.template.spec.hostNetwork"}},
	{what: "hostPID is missing", file: exporterFile, was: "      hostPID: true\n", is: "",
		check: "4-1/host", names: []string{"DaemonSet node-exporter", "spec.template.spec.hostPID"}},
	{what: "the container's port is another", file: exporterFile, was: "containerPort: 9100", is: "containerPort: 9101",
		check: "4-1/port", names: []string{"DaemonSet node-exporter", "containerPort", "9101", "9100"}},
	{what: "the Service's target port is a name that no port has", file: exporterFile, was: "targetPort: http", is: "targetPort: htpp",
		check: "4-1/leads", names: []string{"Service node-exporter", "spec.ports[0].targetPort", "htpp"}},

	{what: "the account's name is misspelt", file: roleFile, was: "kind: ServiceAccount\nmetadata:\n  name: prometheus", is: "kind: ServiceAccount\nmetadata:\n  name: promethus", kubectl: "delete serviceaccount prometheus", undo: "delete serviceaccount promethus",
		check: "4-2/account", names: []string{"ServiceAccount prometheus", "ServiceAccount promethus", "metadata.name"}},
	{what: "the role's name is misspelt", file: roleFile, was: "kind: ClusterRole\nmetadata:\n  name: prometheus", is: "kind: ClusterRole\nmetadata:\n  name: promethus", kubectl: "delete clusterrole prometheus", undo: "delete clusterrole promethus",
		check: "4-2/role", names: []string{"ClusterRole prometheus", "ClusterRole promethus", "metadata.name"}},
	{what: "the role lacks a verb", file: roleFile, was: "  - nodes/metrics\n  verbs: [\"get\", \"list\", \"watch\"]", is: "  - nodes/metrics\n  verbs: [\"get\", \"watch\"]",
		check: "4-2/rules", names: []string{"ClusterRole prometheus", "rules[].verbs", "list"}},
	{what: "the role lacks a resource", file: roleFile, was: "  - nodes\n", is: "",
		check: "4-2/rules", names: []string{"ClusterRole prometheus", "rules[].resources", "nodes"}},
	{what: "the role lacks the URL", file: roleFile, was: "  - /metrics\n", is: "  - /healthz\n",
		check: "4-2/rules", names: []string{"ClusterRole prometheus", "nonResourceURLs", "/metrics"}},
	{what: "the binding is of another role", file: roleFile, was: "  kind: ClusterRole\n  name: prometheus", is: "  kind: ClusterRole\n  name: view", kubectl: "delete clusterrolebinding prometheus", undo: "delete clusterrolebinding prometheus",
		check: "4-2/binding", names: []string{"ClusterRoleBinding prometheus", "roleRef", "view"}},
	{what: "the binding is for an account of another namespace", file: roleFile, was: "- kind: ServiceAccount\n  name: prometheus\n  namespace: default", is: "- kind: ServiceAccount\n  name: prometheus\n  namespace: monitoring",
		check: "4-2/binding", names: []string{"ClusterRoleBinding prometheus", "subjects", "monitoring/prometheus"}},

	{what: "the pod works as another account", file: prometheusFile, was: "      serviceAccountName: prometheus\n", is: "", without: true,
		check: "4-3/account", names: []string{"Deployment prometheus", "spec.template.spec.serviceAccountName", "default"}},
	{what: "the ConfigMap's key is misspelt", file: prometheusFile, was: "data:\n  prometheus.yml: |", is: "data:\n  prometheus.yaml: |", kubectl: "delete configmap prometheus", undo: "delete configmap prometheus",
		check: "4-3/file", names: []string{"ConfigMap prometheus", "data", "prometheus.yaml", "prometheus.yml"}},
	{what: "the volume names another ConfigMap", file: prometheusFile, was: "        configMap:\n          name: prometheus", is: "        configMap:\n          name: promethus",
		check: "4-3/file", names: []string{"Deployment prometheus", "spec.template.spec.volumes[].configMap.name", "promethus"}},
	{what: "the argument names another file", file: prometheusFile, was: "--config.file=/prometheus/prometheus.yml", is: "--config.file=/etc/prometheus/prometheus.yml",
		check: "4-3/file", names: []string{"Deployment prometheus", "--config.file", "/etc/prometheus/prometheus.yml", "mountPath"}},
	{what: "a job's name is mistyped", file: prometheusFile, was: "- job_name: 'node-exporter'", is: "- job_name: 'node-exporer'",
		check: "4-3/jobs", names: []string{"ConfigMap prometheus", "job_name", "node-exporer", "node-exporter"}},
	{what: "the file is no YAML", file: prometheusFile, was: "      scrape_interval: 15s", is: "     scrape_interval: 15s\n      evaluation_interval: 15s",
		check: "4-3/yaml", names: []string{"ConfigMap prometheus", "indentation"}},
	{what: "the file has a word that Prometheus does not know", file: prometheusFile, was: "scrape_interval: 15s", is: "scrap_interval: 15s",
		check: "4-3/pods", names: []string{"Deployment prometheus", "scrap_interval"}},
	{what: "the Service's port is another", file: prometheusFile, was: "    port: 9090\n", is: "    port: 9091\n",
		check: "4-3/leads", names: []string{"Service prometheus", "spec.ports[].port", "9091/TCP"}},

	{what: "the file was changed, and Prometheus was not started again", file: prometheusFile, was: "replacement: ${1}:9100", is: "replacement: ${1}:9101",
		check: "4-4/loaded", names: []string{"ConfigMap prometheus", "node-exporter", "rollout restart"}},
	{what: "a job asks another port", file: prometheusFile, was: "replacement: ${1}:9100", is: "replacement: ${1}:9101",
		check: "4-4/node-exporter", names: []string{"node-exporter", "relabel_configs[0].replacement", ":9101"}},
	{what: "a job speaks HTTP to the API server", file: prometheusFile, was: "      scheme: https\n", is: "",
		check: "4-4/apiserver", names: []string{"apiserver", "scheme"}},
	{what: "a job asks without the account's token", file: prometheusFile, was: "      authorization:\n        credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token\n", is: "",
		check: "4-4/apiserver", names: []string{"apiserver", "authorization.credentials_file"}},
	{what: "a job's regex keeps nothing", file: prometheusFile, was: "regex: default;kubernetes;https", is: "regex: default;kubernetes;http",
		check: "4-4/apiserver", names: []string{"apiserver", "relabel_configs[0]", "default;kubernetes;http"}},
	{what: "a job looks for pods of another name", file: prometheusFile, was: "regex: prometheus-.+", is: "regex: prometeus-.+",
		check: "4-4/prometheus", names: []string{"prometheus", "relabel_configs[0]", "prometeus-.+"}},
}
