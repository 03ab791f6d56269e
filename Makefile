# The project's commands; CONTRIBUTING.md says what each is for. Nothing else
# needs make: each line can be run by hand.
# As Pulumi's Go language host compiles, so that nothing is compiled twice.
export GOFLAGS += -trimpath

.PHONY: fmt lint test engine prometheus browser live update vuln snapshot release

fmt:
	gofmt -w .

lint:
	test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	go -C tests/engine vet ./...
	go -C tests/prometheus vet ./...
	go -C tests/browser vet ./...
	go -C tests/live vet ./...
	go -C bench vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	for module in . tests/engine tests/prometheus tests/browser tests/live tests/live/netpol tests/live/images/* bench tools tools/vuln tools/release; do go -C $$module mod tidy -diff || exit 1; done

test:
	go test ./...

engine:
	go -C tests/engine test ./...

prometheus:
	go -C tests/prometheus test -timeout 40m ./...

browser:
	go -C tests/browser test -count=1 -timeout 20m -v ./...

live:
	go -C tests/live test -count=1 -timeout 80m -v .

# Needs the database, vuln.go.dev. Fails on what the program can reach.
vuln:
	go tool -modfile=tools/vuln/go.mod govulncheck ./...

# Two targets at a time: each compiles the Kubernetes SDK, with up to 3 GB.
goreleaser = go tool -modfile=tools/release/go.mod goreleaser release --clean --parallelism 2

# The archives as a release has them, unsigned, in dist.
snapshot:
	$(goreleaser) --snapshot --skip=sign,sbom

# What .github/workflows/release.yml runs on a tag.
release:
	$(goreleaser)

update:
	go test ./tests -run 'TestGolden|TestPrometheusFiles' -update
	go test ./tests/docs -run TestTables -update
	go test ./cmd/class/classtool -update
