package lesson

import "k8sbootcamp/internal/course"

// Checks is the table, in the text's order.
var Checks = []Check{
	{
		ID: checkCluster, Chapter: course.Chapter03, Points: 1,
		Question: Text{"the cluster answers", "クラスターが応答する"},
		Look:     "kubectl cluster-info",
	},
	{
		ID: "0-3/nodes", Chapter: course.Chapter03, Points: 2,
		Question: Text{"every node is Ready", "すべてのノードが Ready である"},
		Look:     "kubectl get nodes",
		reads:    []kind{nodes}, judge: nodesReady,
	},
	{
		ID: "0-3/schedulable", Chapter: course.Chapter03, Points: 1,
		Question: Text{"every node takes pods", "すべてのノードがPodを受け入れる"},
		Look:     "kubectl get nodes -o custom-columns=NAME:.metadata.name,UNSCHEDULABLE:.spec.unschedulable",
		reads:    []kind{nodes}, judge: nodesSchedulable,
	},

	{
		ID: "3-2/deployment", Chapter: course.Chapter32, Points: 3,
		Question: Text{"there is a Deployment bootcamp", "Deployment bootcamp がある"},
		Look:     "kubectl get deployments",
		reads:    []kind{deployments}, judge: deploymentExists(course.App),
	},
	{
		ID: "3-2/label", Chapter: course.Chapter32, Points: 2,
		Question: Text{"its pods have the label app=bootcamp", "そのPodにラベル app=bootcamp がある"},
		Look:     "kubectl get pods --show-labels",
		After:    []string{"3-2/deployment"}, reads: []kind{deployments}, judge: ofDeployment(course.App, labelled),
	},
	{
		ID: "3-2/port", Chapter: course.Chapter32, Points: 1,
		Question: Text{"its container names port 8080", "コンテナがポート 8080 を書いている"},
		Look:     "kubectl get deployment bootcamp -o yaml",
		After:    []string{"3-2/deployment"}, reads: []kind{deployments}, judge: ofDeployment(course.App, listensOn(course.AppPort)),
	},
	{
		ID: "3-2/replicas", Chapter: course.Chapter32, Points: 1,
		Question: Text{"it asks for one pod at least", "Podを1個以上求めている"},
		Look:     "kubectl get deployment bootcamp",
		After:    []string{"3-2/deployment"}, reads: []kind{deployments}, judge: ofDeployment(course.App, wantsPods),
	},
	{
		ID: "3-2/pods", Chapter: course.Chapter32, Points: 3,
		Question: Text{"all its pods are ready", "すべてのPodが準備完了である"},
		Look:     "kubectl describe pods",
		After:    []string{"0-3/nodes", "3-2/deployment", "3-2/replicas"}, reads: []kind{deployments, pods}, judge: ofDeployment(course.App, allReady),
	},

	{
		ID: "3-3/service", Chapter: course.Chapter33, Points: 3,
		Question: Text{"there is a Service bootcamp-svc", "Service bootcamp-svc がある"},
		Look:     "kubectl get services",
		reads:    []kind{services}, judge: serviceExists(course.Service),
	},
	{
		ID: "3-3/port", Chapter: course.Chapter33, Points: 1,
		Question: Text{"it listens on port 80", "ポート 80 で待ち受ける"},
		Look:     "kubectl get service bootcamp-svc -o yaml",
		After:    []string{"3-3/service"}, reads: []kind{services}, judge: ofService(course.Service, appPort),
	},
	{
		ID: "3-3/selector", Chapter: course.Chapter33, Points: 3,
		Question: Text{"it finds the app's pods", "アプリのPodを見つける"},
		Look:     "kubectl get service bootcamp-svc -o wide",
		After:    []string{"3-3/service", "3-2/deployment", "3-2/label"}, reads: []kind{services, deployments}, judge: ofService(course.Service, appSelected),
	},
	{
		ID: "3-3/target", Chapter: course.Chapter33, Points: 3,
		Question: Text{"it leads to the port on which they listen", "Podが待ち受けるポートにつながる"},
		Look:     "kubectl get endpointslices -l kubernetes.io/service-name=bootcamp-svc",
		After:    []string{"3-3/service", "3-3/port", "3-2/deployment"}, reads: []kind{services, deployments}, judge: ofService(course.Service, appTarget),
	},
	{
		ID: "3-3/answer", Chapter: course.Chapter33, Points: 3,
		Question: Text{"the app answers through it", "アプリがServiceを通して応答する"},
		Look:     "kubectl get endpointslices -l kubernetes.io/service-name=bootcamp-svc",
		After:    []string{"3-2/pods", "3-3/port", "3-3/selector", "3-3/target"}, reads: []kind{services, deployments, pods}, judge: appAnswers,
	},

	{
		ID: "3-4/owner", Chapter: course.Chapter34, Points: 2,
		Question: Text{"whichever pod is deleted comes back", "どのPodを削除しても戻る"},
		Look:     "kubectl get pods -l app=bootcamp -o custom-columns=NAME:.metadata.name,OWNER:.metadata.ownerReferences[0].name",
		After:    []string{"3-2/deployment", "3-2/label", "3-2/pods"}, reads: []kind{pods, deployments}, judge: ownedPods,
	},
	{
		ID: checkComesBack, Chapter: course.Chapter34, Points: 2,
		Question: Text{"a pod that was just deleted came back", "今削除したPodが戻った"},
		Look:     "kubectl get pods -w",
		After:    []string{"3-4/owner"}, when: func(s *seen) bool { return s.options.Disrupt }, reads: []kind{pods, deployments}, judge: comesBack,
	},

	{
		ID: "4-1/daemonset", Chapter: course.Chapter41, Points: 3,
		Question: Text{"there is a DaemonSet node-exporter", "DaemonSet node-exporter がある"},
		Look:     "kubectl get daemonsets",
		when:     ownCluster, reads: []kind{daemonSets}, judge: exporterExists,
	},
	{
		ID: "4-1/label", Chapter: course.Chapter41, Points: 1,
		Question: Text{"its pods have the label app=node-exporter", "そのPodにラベル app=node-exporter がある"},
		Look:     "kubectl get pods --show-labels",
		After:    []string{"4-1/daemonset"}, when: ownCluster, reads: []kind{daemonSets}, judge: ofExporter(labelled),
	},
	{
		ID: "4-1/toleration", Chapter: course.Chapter41, Points: 3,
		Question: Text{"the control plane gets one too", "コントロールプレーンにも置かれる"},
		Look:     "kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key",
		After:    []string{"4-1/daemonset"}, when: ownCluster, reads: []kind{daemonSets, nodes}, judge: ofExporter(exporterTolerates),
	},
	{
		ID: "4-1/host", Chapter: course.Chapter41, Points: 2,
		Question: Text{"it shares the node's network and processes", "ノードのネットワークとプロセスを共有する"},
		Look:     "kubectl get daemonset node-exporter -o yaml",
		After:    []string{"4-1/daemonset"}, when: ownCluster, reads: []kind{daemonSets}, judge: ofExporter(exporterShares),
	},
	{
		ID: "4-1/port", Chapter: course.Chapter41, Points: 1,
		Question: Text{"its container names port 9100", "コンテナがポート 9100 を書いている"},
		Look:     "kubectl get daemonset node-exporter -o yaml",
		After:    []string{"4-1/daemonset"}, when: ownCluster, reads: []kind{daemonSets}, judge: ofExporter(listensOn(course.NodeExporterPort)),
	},
	{
		ID: "4-1/pods", Chapter: course.Chapter41, Points: 3,
		Question: Text{"its pods are ready", "Podが準備完了である"},
		Look:     "kubectl get pods -o wide",
		After:    []string{"0-3/nodes", "4-1/daemonset"}, when: ownCluster, reads: []kind{daemonSets, pods}, judge: ofExporter(exporterReady),
	},
	{
		ID: "4-1/service", Chapter: course.Chapter41, Points: 1,
		Question: Text{"there is a Service node-exporter", "Service node-exporter がある"},
		Look:     "kubectl get services",
		when:     ownCluster, reads: []kind{services}, judge: serviceExists(course.NodeExporter),
	},
	{
		ID: "4-1/leads", Chapter: course.Chapter41, Points: 2,
		Question: Text{"it leads to the exporter's pods", "exporterのPodにつながる"},
		Look:     "kubectl get service node-exporter -o yaml",
		After:    []string{"4-1/service", "4-1/daemonset", "4-1/label"}, when: ownCluster, reads: []kind{services, daemonSets}, judge: ofService(course.NodeExporter, exporterLeads),
	},

	{
		ID: "4-2/account", Chapter: course.Chapter42, Points: 2,
		Question: Text{"there is a ServiceAccount prometheus", "ServiceAccount prometheus がある"},
		Look:     "kubectl get serviceaccounts",
		reads:    []kind{accounts}, judge: accountExists,
	},
	{
		ID: "4-2/role", Chapter: course.Chapter42, Points: 2,
		Question: Text{"there is a role prometheus", "ロール prometheus がある"},
		Look:     "kubectl get clusterroles,roles",
		reads:    []kind{roles}, judge: roleExists,
	},
	{
		ID: "4-2/rules", Chapter: course.Chapter42, Points: 3,
		Question: Text{"it allows what Prometheus reads", "Prometheusが読むものを許可している"},
		Look:     "kubectl describe clusterrole,role prometheus",
		After:    []string{"4-2/role"}, reads: []kind{roles}, judge: roleAllows,
	},
	{
		ID: "4-2/binding", Chapter: course.Chapter42, Points: 3,
		Question: Text{"it is bound to the account", "アカウントに紐づいている"},
		Look:     "kubectl get clusterrolebinding,rolebinding prometheus -o yaml",
		reads:    []kind{bindings}, judge: roleBound,
	},
	{
		ID: "4-2/may", Chapter: course.Chapter42, Points: 2,
		Question: Text{"the account may list pods, and not delete them", "アカウントはPodを参照でき、削除できない"},
		Look:     "kubectl auth can-i --list --as system:serviceaccount:default:prometheus",
		After:    []string{"4-2/account", "4-2/role", "4-2/rules", "4-2/binding"}, reads: []kind{accounts}, judge: accountMay,
	},

	{
		ID: "4-3/config", Chapter: course.Chapter43, Points: 2,
		Question: Text{"there is a ConfigMap prometheus", "ConfigMap prometheus がある"},
		Look:     "kubectl get configmaps",
		reads:    []kind{configMaps}, judge: configExists,
	},
	{
		ID: "4-3/deployment", Chapter: course.Chapter43, Points: 3,
		Question: Text{"there is a Deployment prometheus", "Deployment prometheus がある"},
		Look:     "kubectl get deployments",
		reads:    []kind{deployments}, judge: deploymentExists(course.Prometheus),
	},
	{
		ID: "4-3/replicas", Chapter: course.Chapter43, Points: 1,
		Question: Text{"it asks for a pod", "Podを求めている"},
		Look:     "kubectl get deployment prometheus",
		After:    []string{"4-3/deployment"}, reads: []kind{deployments}, judge: ofDeployment(course.Prometheus, wantsPods),
	},
	{
		ID: "4-3/account", Chapter: course.Chapter43, Points: 3,
		Question: Text{"its pod works as the account prometheus", "Podがアカウント prometheus で動く"},
		Look:     "kubectl get deployment prometheus -o yaml",
		After:    []string{"4-3/deployment"}, reads: []kind{deployments}, judge: ofDeployment(course.Prometheus, usesAccount),
	},
	{
		ID: "4-3/file", Chapter: course.Chapter43, Points: 3,
		Question: Text{"it reads the ConfigMap's file", "ConfigMapのファイルを読む"},
		Look:     "kubectl describe configmap prometheus",
		After:    []string{"4-3/deployment", "4-3/config"}, reads: []kind{deployments, configMaps}, judge: ofDeployment(course.Prometheus, readsConfig),
	},
	{
		ID: "4-3/yaml", Chapter: course.Chapter43, Points: 1,
		Question: Text{"the file is YAML", "ファイルがYAMLである"},
		Look:     "kubectl describe configmap prometheus",
		After:    []string{"4-3/file"}, reads: []kind{deployments, configMaps}, judge: configParses,
	},
	{
		ID: "4-3/jobs", Chapter: course.Chapter43, Points: 2,
		Question: Text{"it has the text's three jobs", "テキストの3つのジョブがある"},
		Look:     "kubectl describe configmap prometheus",
		After:    []string{"4-3/file", "4-3/yaml"}, reads: []kind{deployments, configMaps}, judge: hasJobs,
	},
	{
		ID: "4-3/pods", Chapter: course.Chapter43, Points: 3,
		Question: Text{"its pod is ready", "Podが準備完了である"},
		Look:     "kubectl logs deployment/prometheus",
		After:    []string{"0-3/nodes", "4-2/account", "4-3/replicas", "4-3/account", "4-3/file", "4-3/yaml"}, reads: []kind{deployments, pods}, judge: ofDeployment(course.Prometheus, allReady),
	},
	{
		ID: "4-3/service", Chapter: course.Chapter43, Points: 1,
		Question: Text{"there is a Service prometheus", "Service prometheus がある"},
		Look:     "kubectl get services",
		reads:    []kind{services}, judge: serviceExists(course.Prometheus),
	},
	{
		ID: "4-3/leads", Chapter: course.Chapter43, Points: 2,
		Question: Text{"it leads to Prometheus's pod", "PrometheusのPodにつながる"},
		Look:     "kubectl get service prometheus -o yaml",
		After:    []string{"4-3/service", "4-3/deployment"}, reads: []kind{services, deployments}, judge: ofService(course.Prometheus, prometheusLeads),
	},

	{
		ID: "4-4/loaded", Chapter: course.Chapter44, Points: 1,
		Question: Text{"Prometheus has read what the ConfigMap says now", "Prometheusが今のConfigMapを読んでいる"},
		Look:     "kubectl get pods -l app=prometheus",
		After:    []string{"4-3/pods", "4-3/leads", "4-3/jobs"}, reads: []kind{deployments, services, configMaps}, judge: loadsConfig,
	},
	{
		ID: "4-4/prometheus", Chapter: course.Chapter44, Points: 2,
		Question: Text{"the target prometheus is up", "ターゲット prometheus が up である"},
		Look:     "kubectl port-forward svc/prometheus 8080:9090",
		After:    targetsAfter, reads: []kind{deployments, services, configMaps}, judge: targetsUp(course.JobPrometheus, oneAtLeast),
	},
	{
		ID: "4-4/apiserver", Chapter: course.Chapter44, Points: 2,
		Question: Text{"the target apiserver is up", "ターゲット apiserver が up である"},
		Look:     "kubectl port-forward svc/prometheus 8080:9090",
		After:    targetsAfter, reads: []kind{deployments, services, configMaps}, judge: targetsUp(course.JobAPIServer, one),
	},
	{
		ID: "4-4/node-exporter", Chapter: course.Chapter44, Points: 2,
		Question: Text{"every target node-exporter is up", "すべてのターゲット node-exporter が up である"},
		Look:     "kubectl port-forward svc/prometheus 8080:9090",
		After:    append([]string{"0-3/nodes", "4-1/daemonset", "4-1/toleration", "4-1/host", "4-1/pods"}, targetsAfter...),
		reads:    []kind{deployments, services, configMaps, nodes}, judge: targetsUp(course.JobNodeExporter, everyNode),
	},
	{
		ID: "4-4/kube-state-metrics", Chapter: course.Chapter44, Points: 1,
		Question: Text{"the target kube-state-metrics is up", "ターゲット kube-state-metrics が up である"},
		Look:     "kubectl port-forward svc/prometheus 8080:9090",
		After:    targetsAfter, when: hasJob(course.JobKubeStateMetrics),
		reads: []kind{deployments, services, configMaps}, judge: targetsUp(course.JobKubeStateMetrics, one),
	},
	{
		ID: "4-4/cadvisor", Chapter: course.Chapter44, Points: 1,
		Question: Text{"every target cadvisor is up", "すべてのターゲット cadvisor が up である"},
		Look:     "kubectl port-forward svc/prometheus 8080:9090",
		After:    targetsAfter, when: hasJob(course.JobCAdvisor),
		reads: []kind{deployments, services, configMaps, nodes}, judge: targetsUp(course.JobCAdvisor, func(s *seen) int {
			if s.shared {
				return 1 // the class's, which hands out what is the student's
			}
			return len(s.nodes)
		}),
	},

	{
		ID: "5/env", Chapter: course.Chapter5, Points: 1,
		Question: Text{"env: the pod has its variable", "env: Podに環境変数がある"},
		Look:     "kubectl describe deployment topic-env",
		when:     begun("topic-env", hasDeployment(course.TopicEnv)), reads: []kind{deployments, pods}, judge: ofTopic(course.TopicEnv, greets),
	},
	{
		ID: "5/configmap", Chapter: course.Chapter5, Points: 1,
		Question: Text{"configmap: the pods have what the ConfigMap holds", "configmap: PodがConfigMapの内容を使える"},
		Look:     "kubectl describe configmap topic-configmap",
		when: begun("topic-configmap", func(s *seen) bool {
			return s.deployment(course.TopicConfigMap) != nil || s.deployment(course.TopicConfigMapEnv) != nil
		}),
		reads: []kind{deployments, pods, configMaps}, judge: bothConfigMapPods,
	},
	{
		ID: "5/secret", Chapter: course.Chapter5, Points: 1,
		Question: Text{"secret: the pod has its Secret", "secret: PodがSecretを使える"},
		Look:     "kubectl describe pods -l app=topic-secret",
		when:     begun("topic-secret", hasDeployment(course.TopicSecret)), reads: []kind{deployments, pods}, judge: ofTopic(course.TopicSecret, allReady),
	},
	{
		ID: "5/statefulset", Chapter: course.Chapter5, Points: 1,
		Question: Text{"statefulset: the database has its own disk", "statefulset: データベースに専用のディスクがある"},
		Look:     "kubectl get statefulsets,persistentvolumeclaims",
		when:     begun("topic-statefulset", func(s *seen) bool { return s.statefulSet(course.TopicStatefulSet) != nil }),
		reads:    []kind{statefulSets, claims, pods}, judge: databaseKeeps,
	},
	{
		ID: "5/volume", Chapter: course.Chapter5, Points: 1,
		Question: Text{"volume: the pod has its disk", "volume: Podにディスクがある"},
		Look:     "kubectl get persistentvolumeclaims",
		when:     begun("topic-volume", hasDeployment(course.TopicVolume)), reads: []kind{deployments, claims, pods}, judge: volumeKeeps,
	},
	{
		ID: "5/ingress", Chapter: course.Chapter5, Points: 1,
		Question: Text{"ingress: it leads to the app's Service", "ingress: アプリのServiceにつながる"},
		Look:     "kubectl describe ingress bootcamp",
		when:     begun("topic-ingress", func(s *seen) bool { return s.ingress() != nil }),
		reads:    []kind{ingresses, services}, judge: ingressLeads,
	},
}

// targetsAfter is what must be well before a target can tell anything.
var targetsAfter = []string{"4-2/rules", "4-2/binding", "4-3/account", "4-3/pods", "4-3/leads", "4-3/jobs", "4-4/loaded"}

// ownCluster tells that node-exporter is the student's: on a class's cluster it is the
// class's.
func ownCluster(s *seen) bool { return !s.shared }
