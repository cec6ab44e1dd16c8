// Command recommendationcache keeps every visitor's latest recommendations in memory and serves them on loopback.
//
//	go run . -brokers 127.0.0.1:9092
//	curl 'http://127.0.0.1:8080/recommendations?visitor=v1&location=Oslo'
//	curl 'http://127.0.0.1:8080/trending?location=Oslo'
//
// Three topics become one cache: recommendations says what each visitor was last answered, default-recommendations what
// to show to everybody else, also while the recommender is down, trending what is viewed at each place. Every instance
// reads all partitions, so there is no consumer group and nothing to commit: a restart reads the answers that are still
// fresh once more.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "host:port, comma separated")
	prefix := flag.String("prefix", "", "of the topics' names")
	port := flag.Int("port", 8080, "on loopback; 0 = any that is free")
	ttl := flag.Int("ttl-minutes", 30, "how long an answer is shown")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cache := newCache(time.Duration(*ttl) * time.Minute)
	if err := run(ctx, cache, strings.Split(*brokers, ","), *prefix, *port); err != nil {
		log.Fatal(err)
	}
}

// run serves the cache and follows the topics until ctx ends.
func run(ctx context.Context, cache *cache, brokers []string, prefix string, port int) error {
	fresh := kgo.NewOffset().AfterMilli(time.Now().Add(-cache.ttl).UnixMilli())
	takeAnswer := func(r *kgo.Record) error { return cache.takeAnswer(string(r.Key), r.Value, r.Timestamp) }
	takeDefault := func(r *kgo.Record) error { return cache.takeDefault(string(r.Key), r.Value) }
	takeTrending := func(r *kgo.Record) error { return cache.takeTrending(string(r.Key), r.Value) }

	answers, err := client(brokers, prefix+"recommendations", fresh)
	if err != nil {
		return err
	}
	defer answers.Close()
	defaults, err := client(brokers, prefix+"default-recommendations", kgo.NewOffset().AtStart())
	if err != nil {
		return err
	}
	defer defaults.Close()
	trending, err := client(brokers, prefix+"trending", kgo.NewOffset().AtStart())
	if err != nil {
		return err
	}
	defer trending.Close()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(cache), ReadHeaderTimeout: 5 * time.Second}

	var running sync.WaitGroup
	start := func(task func()) {
		running.Add(1)
		go func() { defer running.Done(); task() }()
	}
	start(func() { follow(ctx, answers, takeAnswer) })
	start(func() { follow(ctx, defaults, takeDefault) })
	start(func() { follow(ctx, trending, takeTrending) })
	start(func() { sweepEachMinute(ctx, cache) })
	start(func() { <-ctx.Done(); server.Close() })
	fmt.Printf("listening on http://%s\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	running.Wait()
	return nil
}

// client reads all partitions of one topic, without a group.
func client(brokers []string, topic string, start kgo.Offset) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(start))
}

// follow hands every record to take until ctx ends.
func follow(ctx context.Context, client *kgo.Client, take func(*kgo.Record) error) {
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				log.Printf("%s-%d: %v", topic, partition, err) // the client retries by itself
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			if err := take(r); err != nil { // one bad record must not end the cache
				log.Printf("unreadable: %s-%d@%d: %v", r.Topic, r.Partition, r.Offset, err)
			}
		})
	}
}

func sweepEachMinute(ctx context.Context, cache *cache) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			cache.sweep(now)
		case <-ctx.Done():
			return
		}
	}
}

func handler(cache *cache) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/recommendations", func(w http.ResponseWriter, r *http.Request) {
		asked := r.URL.Query()
		source, list := cache.get(asked.Get("visitor"), asked.Get("location"), time.Now())
		reply(w, map[string]any{"source": source, "items": list.items, "because": list.because})
	})
	mux.HandleFunc("/trending", func(w http.ResponseWriter, r *http.Request) {
		place, list := cache.trends(r.URL.Query().Get("location"))
		reply(w, map[string]any{"place": place, "items": list.items, "rising": list.rising})
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"repeated": cache.repeats()})
	})
	return mux
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Print(err)
	}
}
