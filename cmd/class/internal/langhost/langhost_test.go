package langhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// engine is Pulumi's engine and monitor, as far as a program without resources asks.
type engine struct {
	pulumirpc.UnimplementedEngineServer
	pulumirpc.UnimplementedResourceMonitorServer
	address string

	mu   sync.Mutex
	logs []string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &engine{address: listener.Addr().String()}
	server := grpc.NewServer()
	pulumirpc.RegisterEngineServer(server, e)
	pulumirpc.RegisterResourceMonitorServer(server, e)
	go server.Serve(listener) //nolint:errcheck // stopped below
	t.Cleanup(server.Stop)
	return e
}

func (e *engine) Log(_ context.Context, r *pulumirpc.LogRequest) (*emptypb.Empty, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs = append(e.logs, r.GetSeverity().String()+": "+r.GetMessage())
	return &emptypb.Empty{}, nil
}

func (e *engine) SupportsFeature(context.Context, *pulumirpc.SupportsFeatureRequest) (*pulumirpc.SupportsFeatureResponse, error) {
	return &pulumirpc.SupportsFeatureResponse{HasSupport: true}, nil
}

func (e *engine) RegisterResource(_ context.Context, r *pulumirpc.RegisterResourceRequest) (*pulumirpc.RegisterResourceResponse, error) {
	return &pulumirpc.RegisterResourceResponse{Urn: "urn:pulumi:x::bootcamp::" + r.GetType() + "::" + r.GetName()}, nil
}

func (e *engine) RegisterResourceOutputs(context.Context, *pulumirpc.RegisterResourceOutputsRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (e *engine) SignalAndWaitForShutdown(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// TestServe: the engine reads the port and has the program run, which is told stack,
// configuration and its keys; a failure is told to the engine; no Go is asked for; and the
// end of its context is the host's.
func TestServe(t *testing.T) {
	e := newEngine(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ran []string
	program := func(keys []string) pulumi.RunFunc {
		return func(ctx *pulumi.Context) error {
			value, _ := ctx.GetConfig(keys[0])
			ran = append(ran, fmt.Sprintln(ctx.Project(), ctx.Stack(), ctx.DryRun(), keys, value, ctx.IsConfigSecret(keys[1])))
			if ctx.DryRun() {
				return errors.New("no good")
			}
			return nil
		}
	}
	printed, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, e.address, program, out) }()
	port, err := bufio.NewReader(printed).ReadString('\n')
	require.NoError(t, err)

	conn, err := grpc.NewClient("127.0.0.1:"+strings.TrimSpace(port), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	client := pulumirpc.NewLanguageRuntimeClient(conn)
	t.Setenv("PATH", "")
	packages, err := client.GetRequiredPackages(ctx, &pulumirpc.GetRequiredPackagesRequest{})
	require.NoError(t, err)
	assert.Empty(t, packages.GetPackages())
	run := func(dry bool) *pulumirpc.RunResponse {
		t.Helper()
		answer, err := client.Run(ctx, &pulumirpc.RunRequest{
			Project: "bootcamp", Stack: "x", MonitorAddress: e.address, DryRun: dry, Parallel: 4,
			Config: map[string]string{"bootcamp:replicas": "3", "bootcamp:token": "t"}, ConfigSecretKeys: []string{"bootcamp:token"},
		})
		require.NoError(t, err)
		return answer
	}
	assert.False(t, run(false).GetBail())
	assert.Empty(t, e.logs)
	assert.True(t, run(true).GetBail())
	require.Len(t, e.logs, 1)
	assert.Contains(t, e.logs[0], "ERROR: the program failed: ")
	assert.Contains(t, e.logs[0], "no good")
	assert.Equal(t, []string{
		"bootcamp x false [bootcamp:replicas bootcamp:token] 3 true\n",
		"bootcamp x true [bootcamp:replicas bootcamp:token] 3 true\n",
	}, ran)

	stop()
	select {
	case err := <-ended:
		assert.NoError(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
}
