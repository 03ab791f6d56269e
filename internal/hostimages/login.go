package hostimages

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/docker/cli/cli/config"
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
