// Package langhost lets plain `pulumi` run the lab's program where there is no Go: it is a
// language host of Pulumi's, with the program inside. Pulumi's own for Go asks the go
// command about every program, also about one that is compiled.
package langhost

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Verb is what the class tool is told to be a language host; the address of Pulumi's
// engine is the last argument after it.
const Verb = "language-host"

// engineCheck is how often the engine is asked whether it is still there.
const engineCheck = time.Minute

// Serve prints the port that it listens on, and runs the program whenever the engine at an
// address says so. The program is made for the full names of the stack's configured keys.
// It returns once ctx is done or the engine is gone.
func Serve(ctx context.Context, engine string, program func(configKeys []string) pulumi.RunFunc, out io.Writer) error {
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	if err := rpcutil.Healthcheck(ctx, engine, engineCheck, gone); err != nil {
		return fmt.Errorf("the engine's address %q: %w", engine, err)
	}
	cancel := make(chan bool)
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: cancel,
		Init: func(s *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(s, &host{engine: engine, program: program})
			return nil
		},
	})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { close(cancel) })
	fmt.Fprintln(out, handle.Port)
	return <-handle.Done
}

// host answers the engine. No plugins are announced: the engine fetches each as the
// program first asks for it, in the version that the program's SDKs have.
type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	engine  string
	program func(configKeys []string) pulumi.RunFunc
}

// Run runs the program. Its failure is part of the answer, and told as the SDK's own
// pulumi.Run does.
func (h *host) Run(ctx context.Context, r *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	run, err := pulumi.NewContext(ctx, pulumi.RunInfo{
		EngineAddr:       h.engine,
		MonitorAddr:      r.GetMonitorAddress(),
		Config:           r.GetConfig(),
		ConfigSecretKeys: r.GetConfigSecretKeys(),
		Organization:     r.GetOrganization(),
		Project:          r.GetProject(),
		RootDirectory:    r.GetInfo().GetRootDirectory(),
		Stack:            r.GetStack(),
		Parallel:         r.GetParallel(),
		DryRun:           r.GetDryRun(),
	})
	if err != nil {
		return nil, err
	}
	defer run.Close()
	err = pulumi.RunWithContext(run, h.program(slices.Sorted(maps.Keys(r.GetConfig()))))
	if err != nil {
		_ = run.Log.Error(fmt.Sprintf("the program failed: %v", err), nil) // an engine that is gone has nobody to tell
		return &pulumirpc.RunResponse{Bail: true}, nil
	}
	return &pulumirpc.RunResponse{}, nil
}

func (*host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: sdk.Version.String()}, nil
}

func (*host) GetRequiredPackages(context.Context, *pulumirpc.GetRequiredPackagesRequest) (*pulumirpc.GetRequiredPackagesResponse, error) {
	return &pulumirpc.GetRequiredPackagesResponse{}, nil
}

// InstallDependencies is `pulumi install`, which has nothing to do.
func (*host) InstallDependencies(*pulumirpc.InstallDependenciesRequest, grpc.ServerStreamingServer[pulumirpc.InstallDependenciesResponse]) error {
	return nil
}

// About is `pulumi about`.
func (*host) About(context.Context, *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	return &pulumirpc.AboutResponse{}, nil
}

func (*host) GetProgramDependencies(context.Context, *pulumirpc.GetProgramDependenciesRequest) (*pulumirpc.GetProgramDependenciesResponse, error) {
	return &pulumirpc.GetProgramDependenciesResponse{}, nil
}
