// A worker in Go: net.FileListener on descriptor 3, http.Server.Shutdown on SIGTERM.
//
//	go build -o target/hello-go examples/go/main.go
//	ganger run examples/go/hello-go.toml
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener")) // 3: the first of LISTEN_FDS
	if err != nil {
		log.Fatal("no socket was inherited: ", err)
	}
	worker := os.Getenv("GANGER_WORKER")
	var leaving atomic.Bool
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintf(w, "hello from Go, worker %s, pid %d\n", worker, os.Getpid())
	})

	stop, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	server := &http.Server{}
	drained := make(chan error, 1)
	go func() {
		<-stop.Done()
		// Shutdown cuts idle connections at once, though a request may be under way on one: first accept no
		// more, and say so in each answer for a moment.
		leaving.Store(true)
		listener.Close()
		time.Sleep(time.Second)
		drained <- server.Shutdown(context.Background()) // waits for the requests that have begun
	}()
	if err := server.Serve(listener); !errors.Is(err, net.ErrClosed) {
		log.Fatal(err)
	}
	if err := <-drained; err != nil {
		log.Fatal(err)
	}
}
