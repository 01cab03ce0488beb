// Alloy's own validator and formatter, with no more components than our configuration uses: the whole program takes
// half an hour to build, this one some minutes. It is compiled inside a copy of Alloy's module.
//
//	alloy-check FILE ...    exit code 1 and diagnostics where `alloy validate` or `alloy fmt --test` would refuse
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/alloy/internal/component"
	"github.com/grafana/alloy/internal/featuregate"
	"github.com/grafana/alloy/internal/service"
	"github.com/grafana/alloy/internal/service/cluster"
	"github.com/grafana/alloy/internal/service/http"
	"github.com/grafana/alloy/internal/service/labelstore"
	"github.com/grafana/alloy/internal/service/livedebugging"
	"github.com/grafana/alloy/internal/service/otel"
	"github.com/grafana/alloy/internal/validator"
	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/printer"

	_ "github.com/grafana/alloy/internal/component/discovery/kubernetes"
	_ "github.com/grafana/alloy/internal/component/discovery/relabel"
	_ "github.com/grafana/alloy/internal/component/local/file_match"
	_ "github.com/grafana/alloy/internal/component/loki/process"
	_ "github.com/grafana/alloy/internal/component/loki/source/file"
	_ "github.com/grafana/alloy/internal/component/loki/source/kubernetes_events"
	_ "github.com/grafana/alloy/internal/component/loki/write"
	_ "github.com/grafana/alloy/internal/component/otelcol/auth/basic"
	_ "github.com/grafana/alloy/internal/component/otelcol/exporter/loki"
	_ "github.com/grafana/alloy/internal/component/otelcol/exporter/otlphttp"
	_ "github.com/grafana/alloy/internal/component/otelcol/processor/attributes"
	_ "github.com/grafana/alloy/internal/component/otelcol/processor/batch"
	_ "github.com/grafana/alloy/internal/component/otelcol/processor/memorylimiter"
	_ "github.com/grafana/alloy/internal/component/otelcol/processor/tail_sampling"
	_ "github.com/grafana/alloy/internal/component/otelcol/receiver/otlp"
	_ "github.com/grafana/alloy/internal/component/otelcol/receiver/tcplog"
	_ "github.com/grafana/alloy/internal/component/prometheus/relabel"
	_ "github.com/grafana/alloy/internal/component/prometheus/remotewrite"
	_ "github.com/grafana/alloy/internal/component/prometheus/scrape"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println("components of alloy", version)
		return
	}
	failed := false
	for _, name := range os.Args[1:] {
		if err := check(name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

var version = "unknown"

func check(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	sources := map[string][]byte{name: text}
	invalid := validator.Validate(validator.Options{
		Sources:            sources,
		ServiceDefinitions: services(),
		ComponentRegistry:  component.NewDefaultRegistry(featuregate.StabilityGenerallyAvailable, false),
		MinStability:       featuregate.StabilityGenerallyAvailable,
	})
	if invalid != nil {
		validator.Report(os.Stderr, invalid, sources)
		return errors.New("validation failed")
	}
	file, err := parser.ParseFile(name, text)
	if err != nil {
		return err
	}
	var formatted bytes.Buffer
	if err := printer.Fprint(&formatted, file); err != nil {
		return err
	}
	formatted.WriteByte('\n')
	if !bytes.Equal(text, formatted.Bytes()) {
		return errors.New("not formatted as alloy fmt writes it")
	}
	return nil
}

func services() []service.Definition {
	var found []service.Definition
	for _, one := range []service.Service{
		&cluster.Service{}, &http.Service{}, &labelstore.Service{}, &livedebugging.Service{}, &otel.Service{},
	} {
		found = append(found, one.Definition())
	}
	return found
}
