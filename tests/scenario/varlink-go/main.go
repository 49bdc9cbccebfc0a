// SPDX-License-Identifier: LGPL-2.1-or-later

// A client of vaultd that shares no line with ours: the Go library of the Varlink project (Debian package
// golang-github-varlink-go-dev) does all of the wire. Reads commands from its arguments, writes one line of JSON:
//
//	client ADDRESS info
//	client ADDRESS describe INTERFACE
//	client ADDRESS call METHOD PARAMETERS
//	client ADDRESS more METHOD PARAMETERS     (first reply only; leaves then)
//	client ADDRESS oneway METHOD PARAMETERS   (and an ordinary call behind it on the same connection)
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/varlink/go/varlink"
)

type answer struct {
	Error      string           `json:"error,omitempty"`
	Parameters *json.RawMessage `json:"parameters,omitempty"`
	Continues  bool             `json:"continues,omitempty"`
	Interfaces []string         `json:"interfaces,omitempty"`
	Vendor     string           `json:"vendor,omitempty"`
	Version    string           `json:"version,omitempty"`
	Text       string           `json:"text,omitempty"`
}

// An error of the service goes into the answer, any other ends the program.
func judge(a *answer, err error) {
	switch e := err.(type) {
	case nil:
	case *varlink.Error:
		a.Error = e.Name
		if p, ok := e.Parameters.(*json.RawMessage); ok {
			a.Parameters = p
		}
	case *varlink.MethodNotFound:
		a.Error = "org.varlink.service.MethodNotFound"
	case *varlink.InterfaceNotFound:
		a.Error = "org.varlink.service.InterfaceNotFound"
	case *varlink.InvalidParameter:
		a.Error, a.Text = "org.varlink.service.InvalidParameter", e.Parameter
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	a := answer{}
	c, err := varlink.NewConnection(ctx, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer c.Close()

	switch os.Args[2] {
	case "info":
		judge(&a, c.GetInfo(ctx, &a.Vendor, nil, &a.Version, nil, &a.Interfaces))
	case "describe":
		text, err := c.GetInterfaceDescription(ctx, os.Args[3])
		a.Text = text
		judge(&a, err)
	case "call":
		judge(&a, c.Call(ctx, os.Args[3], json.RawMessage(os.Args[4]), &a.Parameters))
	case "more":
		receive, err := c.Send(ctx, os.Args[3], json.RawMessage(os.Args[4]), varlink.More)
		judge(&a, err)
		flags, err := receive(ctx, &a.Parameters)
		judge(&a, err)
		a.Continues = flags&varlink.Continues != 0
	case "oneway":
		_, err := c.Send(ctx, os.Args[3], json.RawMessage(os.Args[4]), varlink.Oneway)
		judge(&a, err)
		judge(&a, c.Call(ctx, "io.vaultd.WhoAmI", nil, &a.Parameters))
	}
	out, _ := json.Marshal(a)
	fmt.Println(string(out))
}
