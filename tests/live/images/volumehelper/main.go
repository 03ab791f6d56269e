// volumehelper makes and removes the folder of a volume, as local-path-provisioner has it
// done by a pod on the volume's node: `volumehelper -p FOLDER -s BYTES -m MODE -a create`,
// or delete. It is in the place of the shell scripts of that project's own example.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	folder, action := flag.String("p", "", "the folder"), flag.String("a", "", "create or delete")
	flag.String("s", "", "its size, which nothing holds it to")
	flag.String("m", "", "Filesystem")
	flag.Parse()
	var err error
	switch *action {
	case "create":
		if err = os.MkdirAll(*folder, 0o777); err == nil {
			err = os.Chmod(*folder, 0o777) // whoever the pod runs as
		}
	case "delete":
		err = os.RemoveAll(*folder)
	default:
		err = fmt.Errorf("unknown action %q", *action)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
