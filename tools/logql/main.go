// Loki's own parser about queries, one a line of the input. Exit code 1, and the reason, for those that it refuses.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/grafana/loki/v3/pkg/logql/syntax"
)

var version = "unknown"

func main() {
	if len(os.Args) > 1 {
		fmt.Println("logql", version)
		return
	}
	status := 0
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := syntax.ParseExpr(lines.Text()); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", lines.Text(), err)
			status = 1
		}
	}
	os.Exit(status)
}
