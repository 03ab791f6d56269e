package hostimages

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
)

// hubRegistry is the registry of images whose names have none, and hubLogin the name that
// the docker command keeps its login under.
const (
	hubRegistry = "docker.io"
	hubLogin    = "https://index.docker.io/v1/"
)

// login is the user's login for a registry, from the docker command's own configuration
// and its credential helpers, as Docker takes it; empty where there is none.
func login(registry string) (string, error) {
	if registry == hubRegistry {
		registry = hubLogin
	}
	auth, err := config.LoadDefaultConfigFile(io.Discard).GetAuthConfig(registry)
	if err != nil {
		return "", fmt.Errorf("the login for %s: %w", registry, err)
	}
	if auth.Username == "" && auth.IdentityToken == "" && auth.RegistryToken == "" {
		return "", nil
	}
	out, err := json.Marshal(auth)
	if err != nil {
		return "", err
	}
	return base64.URLEncoding.EncodeToString(out), nil
}

// Logins are the user's, for those who ask registries themselves. Where the docker command's
// helper does not run (a Docker Desktop that is gone, Windows' own from within WSL), nobody
// is logged in, and public images come all the same: "docker login" says what is wrong.
var Logins authn.Keychain = logins{authn.DefaultKeychain}

type logins struct{ authn.Keychain }

func (l logins) Resolve(of authn.Resource) (authn.Authenticator, error) {
	return l.ResolveContext(context.Background(), of)
}

func (l logins) ResolveContext(ctx context.Context, of authn.Resource) (authn.Authenticator, error) {
	auth, err := authn.Resolve(ctx, l.Keychain, of)
	if err != nil {
		return authn.Anonymous, ctx.Err()
	}
	return auth, nil
}
