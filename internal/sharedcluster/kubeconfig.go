package sharedcluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"k8sbootcamp/internal/kubeclient"
)

// Kubeconfig makes a kubeconfig for a ServiceAccount (NAMESPACE/NAME): the cluster as
// the administrator reaches it, a token that is bound to the account and expires,
// and a namespace preset. The cluster may shorten the lifetime.
func (c *Client) Kubeconfig(ctx context.Context, namespace, account string, lifetime time.Duration) ([]byte, time.Time, error) {
	seconds := int64(lifetime.Seconds())
	home, name, ok := strings.Cut(account, "/")
	if !ok {
		return nil, time.Time{}, fmt.Errorf("account %q is not NAMESPACE/NAME", account)
	}
	answer, err := c.typed.CoreV1().ServiceAccounts(home).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("a token for %s: %w", account, kubeclient.Explain(err))
	}
	tls := c.config.TLSClientConfig
	if len(tls.CAData) == 0 && tls.CAFile != "" {
		if err := rest.LoadTLSFiles(c.config); err != nil {
			return nil, time.Time{}, err
		}
		tls = c.config.TLSClientConfig
	}
	out := clientcmdapi.NewConfig()
	out.Clusters[namespace] = &clientcmdapi.Cluster{
		Server:                   c.config.Host,
		CertificateAuthorityData: tls.CAData,
		InsecureSkipTLSVerify:    tls.Insecure,
		TLSServerName:            tls.ServerName,
	}
	out.AuthInfos[namespace] = &clientcmdapi.AuthInfo{Token: answer.Status.Token}
	out.Contexts[namespace] = &clientcmdapi.Context{Cluster: namespace, AuthInfo: namespace, Namespace: namespace}
	out.CurrentContext = namespace
	raw, err := clientcmd.Write(*out)
	return raw, answer.Status.ExpirationTimestamp.Time, err
}
