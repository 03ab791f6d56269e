// server stands in, in tests, for every image of the lab: it answers any request on the
// ports of the echo app, Prometheus and node-exporter, those of them that are free. Asked once, it only
// says who it is.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "once" { // it is asked whether it runs at all
		fmt.Println(os.Getenv("IMAGE"))
		return
	}
	// The image says which version of it this is.
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getenv("IMAGE")) })
	ended := make(chan error)
	ports := []string{":8080", ":9090", ":9100"}
	for _, port := range ports {
		go func() { ended <- http.ListenAndServe(port, nil) }()
	}
	for range ports { // the network of a node may have some of them in use
		fmt.Fprintln(os.Stderr, <-ended)
	}
	os.Exit(1)
}
