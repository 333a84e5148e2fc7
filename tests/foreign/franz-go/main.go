// Command franz-go is a KIP-848 group member on franz-go that prints
// VerifiableConsumer's JSON events.
//
// usage: franz-go BOOTSTRAP GROUP TOPIC
// SIGTERM and SIGINT close the consumer (callbacks, leave) and exit 0.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type partition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

type span struct {
	partition
	Count     int   `json:"count"`
	MinOffset int64 `json:"minOffset"`
	MaxOffset int64 `json:"maxOffset"`
}

type position struct {
	partition
	Offset int64 `json:"offset"`
}

var printing sync.Mutex

// emit prints one event as one line; os.Stdout is unbuffered.
func emit(name string, fields map[string]any) {
	event := map[string]any{"timestamp": time.Now().UnixMilli(), "name": name}
	for key, value := range fields {
		event[key] = value
	}
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

// named returns a callback that prints the partitions it is given as event name.
func named(name string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		partitions := []partition{}
		for topic, numbers := range topics {
			for _, number := range numbers {
				partitions = append(partitions, partition{topic, number})
			}
		}
		emit(name, map[string]any{"partitions": partitions})
	}
}

// consumed prints what one poll covers and returns the number of records.
func consumed(fetches kgo.Fetches) int {
	spans := []span{}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if n := len(p.Records); n > 0 {
			first, last := p.Records[0].Offset, p.Records[n-1].Offset
			spans = append(spans, span{partition{p.Topic, p.Partition}, n, first, last})
		}
	})
	count := fetches.NumRecords()
	if count > 0 {
		emit("records_consumed", map[string]any{"count": count, "partitions": spans})
	}
	return count
}

// commit commits everything returned so far and prints whether the broker took it.
func commit(client *kgo.Client, fetches kgo.Fetches) {
	positions := []position{}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if n := len(p.Records); n > 0 {
			next := p.Records[n-1].Offset + 1
			positions = append(positions, position{partition{p.Topic, p.Partition}, next})
		}
	})
	fields := map[string]any{"offsets": positions, "success": true}
	if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
		fields["success"], fields["error"] = false, err.Error()
	}
	emit("offsets_committed", fields)
}

func main() {
	if len(os.Args) != 4 {
		os.Stderr.WriteString("usage: franz-go BOOTSTRAP GROUP TOPIC\n")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.ConsumerGroup(os.Args[2]),
		kgo.ConsumeTopics(os.Args[3]),
		kgo.Balancers(kgo.StickyBalancer()),
		kgo.ServerSideBalancer(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(named("partitions_assigned")),
		kgo.OnPartitionsRevoked(named("partitions_revoked")),
		kgo.OnPartitionsLost(named("partitions_lost")),
	)
	if err != nil {
		emit("error", map[string]any{"error": err.Error()})
		os.Exit(1)
	}
	emit("startup_complete", map[string]any{"client": "franz-go v1.22.2"})
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) {
				emit("error", map[string]any{"error": err.Error()})
			}
		})
		if consumed(fetches) > 0 {
			commit(client, fetches)
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	emit("shutdown_complete", nil)
}
