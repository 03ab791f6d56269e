package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"k8sbootcamp/internal/sharedcluster"
)

// request is for a folder with these files, and with the roster class.csv if it is
// among them.
func request(t *testing.T, files map[string]string) Request {
	t.Helper()
	dir := t.TempDir()
	r := Request{
		Project:     &workspace.Project{Name: "bootcamp"},
		File:        func(stack string) string { return filepath.Join(dir, "Pulumi."+stack+".yaml") },
		Stack:       "dev",
		MustBeRight: true,
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		if name == "class.csv" {
			r.Stack, r.Roster = "", filepath.Join(dir, name)
		}
	}
	return r
}

func read(t *testing.T, r Request) []*Stack {
	t.Helper()
	stacks, problems, err := Read(r)
	require.NoError(t, err)
	require.Empty(t, problems)
	return stacks
}

// problems are those of a request, without the folder's name.
func problems(t *testing.T, r Request) []string {
	t.Helper()
	_, found, err := Read(r)
	require.NoError(t, err)
	var out []string
	for _, p := range found {
		assert.NotEmpty(t, p.Remedy)
		out = append(out, p.Check+" "+strings.ReplaceAll(p.Problem, filepath.Dir(r.File("x"))+string(filepath.Separator), ""))
	}
	return out
}

func TestLayers(t *testing.T) {
	const file = "config:\n  bootcamp:replicas: 3\n  bootcamp:workers: \"1\"\n  bootcamp:hostPort: 18080\n  other:key: x\n"
	for name, c := range map[string]struct {
		roster, file              string
		flags                     []string
		replicas, nodes, hostPort int
		set                       Values
		unset, keys               []string
	}{
		"defaults": {replicas: 2, nodes: 4, set: Values{}},
		"the file": {
			file: file, replicas: 3, nodes: 2, hostPort: 18080, set: Values{},
			keys: []string{"bootcamp:hostPort", "bootcamp:replicas", "bootcamp:workers", "other:key"},
		},
		"a flag wins; only what differs is written": {
			file: file, flags: []string{"replicas=4", "bootcamp:workers=1"}, replicas: 4, nodes: 2, hostPort: 18080, set: Values{"replicas": "4"},
			keys: []string{"bootcamp:hostPort", "bootcamp:replicas", "bootcamp:workers", "other:key"},
		},
		"a cell wins over it; an empty one is the default": {
			file: file, flags: []string{"replicas=4"}, roster: "name,replicas,hostPort,edition\ndev,5,,\n",
			replicas: 5, nodes: 2, set: Values{"replicas": "5"}, unset: []string{"bootcamp:hostPort"},
			keys: []string{"bootcamp:replicas", "bootcamp:workers", "other:key"},
		},
		"an empty cell yields to a flag": {
			file: file, flags: []string{"replicas=4"}, roster: "name,replicas\ndev,\n", replicas: 4, nodes: 2, hostPort: 18080, set: Values{"replicas": "4"},
			keys: []string{"bootcamp:hostPort", "bootcamp:replicas", "bootcamp:workers", "other:key"},
		},
		"a secret is left to Pulumi": {
			file: "config:\n  bootcamp:workers:\n    secure: v1:abc\n", replicas: 2, nodes: 4, set: Values{}, keys: []string{"bootcamp:workers"},
		},
		"a secret is replaced": {
			file: "config:\n  bootcamp:workers:\n    secure: v1:abc\n", flags: []string{"workers=0"},
			replicas: 2, nodes: 1, set: Values{"workers": "0"}, keys: []string{"bootcamp:workers"},
		},
		"a secret goes": {
			file: "config:\n  bootcamp:workers:\n    secure: v1:abc\n", roster: "name,workers\ndev,\n",
			replicas: 2, nodes: 4, set: Values{}, unset: []string{"bootcamp:workers"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if c.file != "" {
				files["Pulumi.dev.yaml"] = c.file
			}
			if c.roster != "" {
				files["class.csv"] = c.roster
			}
			r := request(t, files)
			r.Flags = c.flags
			s := read(t, r)[0]
			assert.Equal(t, c.replicas, s.Settings.Replicas)
			assert.Equal(t, c.nodes, s.Nodes())
			assert.Equal(t, c.hostPort, s.HostPort())
			assert.Equal(t, c.set, s.Set)
			assert.Equal(t, c.unset, s.Unset)
			assert.Equal(t, c.keys, s.Keys)
			assert.Equal(t, c.file == "", s.File.Ours)
		})
	}
}

func TestWhere(t *testing.T) {
	r := request(t, map[string]string{
		"class.csv": "name,student,mode,kubeContext,nodeImage\nann,山田,,,kindest/node:v1.30.0\nbob,,shared-student,eks,\nclass,,shared-platform,eks,\n",
	})
	r.Trusted = true
	stacks := read(t, r)
	require.Len(t, stacks, 3)
	ann, bob, class := stacks[0], stacks[1], stacks[2]
	assert.Equal(t, []any{"ann", "山田", 2}, []any{ann.Name, ann.Student, ann.Line})
	assert.Equal(t, []any{"bob", "bob", 3}, []any{bob.Name, bob.Student, bob.Line})
	assert.Equal(t, []bool{true, false, false}, []bool{ann.OnKind(), bob.OnKind(), class.OnKind()})
	assert.Equal(t, []bool{false, false, true}, []bool{ann.Platform(), bob.Platform(), class.Platform()})
	assert.Equal(t, "kindest/node:v1.30.0", ann.NodeImage())
	_, shared := ann.Access()
	assert.False(t, shared)
	access, shared := bob.Access()
	assert.True(t, shared)
	assert.Equal(t, sharedcluster.Access{Context: "eks"}, access)
}

func TestProblems(t *testing.T) {
	replicas := `bootcamp:replicas = "many": allowed is a whole number from 0 to 100`
	context := `config bootcamp:kubeContext = "": with mode=shared-student it must name a context of the kubeconfig (` + "`kubectl config get-contexts`)"
	workers := "config:\n  bootcamp:worker: 3\n"
	unknown := "bootcamp:worker: unknown key; did you mean workers? (`pulumi config rm \"worker\"` removes it)"
	for name, c := range map[string]struct {
		files map[string]string
		flags []string
		want  []string
	}{
		"one stack": {
			map[string]string{"Pulumi.dev.yaml": workers}, []string{"replicas=many"},
			[]string{"config " + replicas, "config " + unknown},
		},
		"flags that are none": {
			nil, []string{"replicas", "=3", "workers=1", "bootcamp:workers=2"},
			[]string{`config --config "replicas" is not KEY=VALUE`, `config --config "=3" is not KEY=VALUE`, `config --config "workers" is given twice`},
		},
		"a cell is its line's": {
			map[string]string{"class.csv": "name,replicas\nann,many\nbob,many\n"}, nil,
			[]string{"config class.csv:2: ann: " + replicas, "config class.csv:3: bob: " + replicas},
		},
		"a flag is said once, also where a cell hides it": {
			map[string]string{"class.csv": "name,replicas\nann,\nbob,3\ncid,\n"}, []string{"replicas=many"},
			[]string{"config " + replicas},
		},
		"a cell beside a flag": {
			map[string]string{"class.csv": "name,replicas\nann,many\nbob,\n"}, []string{"replicas=many"},
			[]string{"config class.csv:2: ann: " + replicas, "config " + replicas},
		},
		"a flag's clash with what is missing": {
			map[string]string{"class.csv": "name\nann\nbob\n"}, []string{"mode=shared-student"}, []string{context},
		},
		"a student's file": {
			map[string]string{"class.csv": "name\nann\nbob\n", "Pulumi.bob.yaml": workers}, nil,
			[]string{"config class.csv:3: bob: " + unknown},
		},
		"an old key as a flag": {
			nil, []string{"monitoring=false"},
			[]string{"config bootcamp:monitoring: no longer a key; write chapter=3-3 instead: `pulumi config set chapter 3-3`, then `pulumi config rm monitoring`"},
		},
		"old keys as columns": {
			map[string]string{"class.csv": "name,monitoring,role,workres\nann,false,student,1\nbob,true,,2\n"}, nil,
			[]string{`roster class.csv:1: column "monitoring": no longer a key`, `roster class.csv:1: column "role": no longer a key`, `roster class.csv:1: not configuration keys: "workres"`},
		},
		"roster and flags at once": {
			map[string]string{"class.csv": "name\na b\n"}, []string{"x"},
			[]string{`roster class.csv:2: stack name "a b": allowed are 1 to 100 letters, digits, '-', '_' and '.', not '-' first, and not dots alone`, `config --config "x" is not KEY=VALUE`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, c.files)
			r.Flags = c.flags
			assert.Equal(t, c.want, problems(t, r))
		})
	}
}

func TestWrongConfigurationMayBeRight(t *testing.T) {
	r := request(t, map[string]string{"Pulumi.dev.yaml": "config:\n  bootcamp:workers: many\n"})
	r.MustBeRight = false
	s := read(t, r)[0]
	assert.Nil(t, s.Settings)
	assert.True(t, s.OnKind(), "nobody knows")
	assert.False(t, s.Platform())
	_, shared := s.Access()
	assert.False(t, shared)
}

func TestBrokenFile(t *testing.T) {
	for _, right := range []bool{true, false} {
		r := request(t, map[string]string{"class.csv": "name\nann\nbob\n", "Pulumi.bob.yaml": "config: [\n"})
		r.MustBeRight = right
		stacks, found, err := Read(r)
		require.NoError(t, err)
		require.Len(t, stacks, 2)
		assert.Nil(t, stacks[1].Settings)
		require.Len(t, found, 1)
		assert.Equal(t, CheckConfig, found[0].Check)
		assert.Contains(t, found[0].Problem, r.File("bob"))
	}
}

func TestOnly(t *testing.T) {
	r := request(t, map[string]string{"class.csv": "name\nann\nbob\ncid\n"})
	r.Only = []string{"cid", "ann"}
	var names []string
	for _, s := range read(t, r) {
		names = append(names, s.Name)
	}
	assert.Equal(t, []string{"ann", "cid"}, names, "in the roster's order")
}

func TestUsage(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"--only without a roster": func(r *Request) { r.Roster, r.Stack, r.Only = "", "dev", []string{"ann"} },
		"--only of nobody":        func(r *Request) { r.Only = []string{"ann", "zoe"} },
		"no such roster":          func(r *Request) { r.Roster += "x" },
		"a folder as roster":      func(r *Request) { r.Roster = filepath.Dir(r.Roster) },
		"a path as stack":         func(r *Request) { r.Roster, r.Stack = "", "../x" },
		"a flag as stack":         func(r *Request) { r.Roster, r.Stack = "", "-h" },
		"no stack":                func(r *Request) { r.Roster, r.Stack = "", "" },
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, map[string]string{"class.csv": "name\nann\n"})
			change(&r)
			stacks, found, err := Read(r)
			assert.Error(t, err)
			assert.Empty(t, stacks)
			assert.Empty(t, found)
		})
	}
}
