// A worker in Go: net.FileListener on descriptor 3, http.Server.Shutdown on SIGTERM.
//
//	go build -o target/hello-go examples/go/main.go
//	ganger run examples/go/hello-go.toml
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener")) // 3: the first of LISTEN_FDS
	if err != nil {
		log.Fatal("no socket was inherited: ", err)
	}
	worker := os.Getenv("GANGER_WORKER")
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from Go, worker %s, pid %d\n", worker, os.Getpid())
	})

	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	server := &http.Server{}
	drained := make(chan error, 1)
	go func() {
		<-stop.Done()
		drained <- server.Shutdown(context.Background()) // waits for the requests that have begun
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	if err := <-drained; err != nil {
		log.Fatal(err)
	}
}
