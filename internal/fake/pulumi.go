package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/sig"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Pulumi is the CLI with a backend that has one stack. The program is not run: an
// update has the effect that the test gives it.
type Pulumi struct {
	mu sync.Mutex

	Exists     bool              // the stack
	Deployment json.RawMessage   // of its state
	Outputs    map[string]string // of the stack
	Secret     []string          // which of them are secret
	History    []auto.UpdateSummary
	// Did are the commands, in order, without the flags that every one has, such as
	// "stack init", "up --replace=URN" or "refresh --target=URN".
	Did []string
	// Imported are the states that were imported.
	Imported []string
	// Dirs are the folders that the commands ran in, in order.
	Dirs []string

	// Before is told of each command before it is done.
	Before func(p *Pulumi, did string)
	// Do is what an up, preview, refresh or destroy does, by that name. It returns
	// the engine's events, and what the CLI prints where it fails. One that is not
	// there does nothing.
	Do map[string]func(p *Pulumi) (events []apitype.EngineEvent, failure string)
}

var _ auto.PulumiCommand = (*Pulumi)(nil)

// Version is the SDK's own.
func (p *Pulumi) Version() semver.Version { return sdk.Version }

// Run does one command.
func (p *Pulumi) Run(_ context.Context, dir string, stdin io.Reader, _, _ []io.Writer, _ []string, args ...string) (string, string, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, failure := p.run(stdin, args)
	p.Dirs = append(p.Dirs, dir)
	if failure != "" {
		return out, failure + "\n", 255, errors.New("exit status 255")
	}
	return out, "", 0, nil
}

func (p *Pulumi) run(stdin io.Reader, args []string) (out, failure string) {
	verb := args[0]
	if verb == "stack" {
		verb += " " + args[1]
	}
	did := verb
	for _, a := range args {
		if strings.HasPrefix(a, "--replace=") || strings.HasPrefix(a, "--target=") {
			did += " " + a
		}
	}
	p.Did = append(p.Did, did)
	if p.Before != nil {
		p.Before(p, did)
	}
	if !p.Exists && verb != "stack init" {
		return "", "error: no stack named 'x' found"
	}
	switch verb {
	case "stack init":
		if p.Exists {
			return "", "error: stack already exists"
		}
		p.Exists = true
	case "stack rm":
		p.Exists, p.Deployment = false, nil
	case "stack export":
		state := p.deployment()
		if slices.Contains(args, "--show-secrets") {
			state = p.withOutputs(state)
		}
		return encode(apitype.UntypedDeployment{Version: 3, Deployment: state}), ""
	case "stack import":
		b, err := io.ReadAll(stdin)
		var whole apitype.UntypedDeployment
		if err = errors.Join(err, json.Unmarshal(b, &whole)); err != nil {
			return "", err.Error()
		}
		p.Imported = append(p.Imported, string(b))
		p.Deployment = whole.Deployment
	case "stack output":
		return encode(p.outputs(slices.Contains(args, "--show-secrets"))), ""
	case "stack history":
		if p.History == nil {
			return "[]", ""
		}
		return encode(p.History), ""
	case "up", "preview", "refresh", "destroy":
		var events []apitype.EngineEvent
		var failure string
		if do := p.Do[verb]; do != nil {
			events, failure = do(p)
		}
		if verb == "up" && failure == "" {
			events = append(events, apitype.EngineEvent{ResOutputsEvent: &apitype.ResOutputsEvent{Metadata: apitype.StepEventMetadata{
				Type: string(resource.RootStackType), New: &apitype.StepEventStateMetadata{Outputs: p.outputs(false)}}}})
		}
		// The SDK waits for these two.
		events = append(events, apitype.EngineEvent{SummaryEvent: &apitype.SummaryEvent{ResourceChanges: map[apitype.OpType]int{}}},
			apitype.EngineEvent{CancelEvent: &apitype.CancelEvent{}})
		if err := sendEvents(args, events); err != nil {
			return "", err.Error()
		}
		return "", failure
	default:
		return "", fmt.Sprintf("the fake of Pulumi does not know %q", strings.Join(args, " "))
	}
	return "", ""
}

// outputs are the stack's; secret ones are covered unless they are to be shown.
func (p *Pulumi) outputs(show bool) map[string]any {
	all := map[string]any{}
	for k, v := range p.Outputs {
		if all[k] = v; slices.Contains(p.Secret, k) && !show {
			all[k] = "[secret]"
		}
	}
	return all
}

func (p *Pulumi) deployment() json.RawMessage {
	if p.Deployment == nil {
		return json.RawMessage(encode(apitype.DeploymentV3{}))
	}
	return p.Deployment
}

// withOutputs is a state with the stack itself, and its outputs as secrets in clear.
func (p *Pulumi) withOutputs(state json.RawMessage) json.RawMessage {
	var d apitype.DeploymentV3
	if err := json.Unmarshal(state, &d); err != nil {
		panic(err)
	}
	outputs := map[string]any{}
	for key, value := range p.Outputs {
		outputs[key] = map[string]any{sig.Key: sig.Secret, "plaintext": encode(value)}
	}
	d.Resources = append([]apitype.ResourceV3{{Type: resource.RootStackType, Outputs: outputs}}, d.Resources...)
	return json.RawMessage(encode(d))
}

// sendEvents sends them to the SDK's server, as the command was told to.
func sendEvents(args []string, events []apitype.EngineEvent) error {
	at := slices.Index(args, "--event-log")
	if at < 0 || at+1 == len(args) {
		return nil
	}
	conn, err := grpc.NewClient(strings.TrimPrefix(args[at+1], "tcp://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := pulumirpc.NewEventsClient(conn).StreamEvents(context.Background())
	if err != nil {
		return err
	}
	for _, e := range events {
		if err := stream.Send(&pulumirpc.EventRequest{Event: encode(e)}); err != nil {
			return err
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
