"""A KIP-848 group member on librdkafka that prints VerifiableConsumer's JSON events.

usage: consumer.py BOOTSTRAP GROUP TOPIC
SIGTERM and SIGINT close the consumer (commit, callbacks, leave) and exit 0.
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, libversion

BATCH_MAX = 500
POLL_SECONDS = 0.1


def emit(name, **fields):
    """Prints one event as one line, flushed."""
    event = {"timestamp": int(time.time() * 1000), "name": name, **fields}
    print(json.dumps(event), flush=True)


def named(partitions):
    return [{"topic": p.topic, "partition": p.partition} for p in partitions]


def consumed(messages):
    """Prints what one batch covers: per partition its count, first and last offset."""
    spans = {}
    for message in messages:
        span = spans.setdefault((message.topic(), message.partition()), [0, message.offset(), 0])
        span[0] += 1
        span[2] = message.offset()
    emit(
        "records_consumed",
        count=len(messages),
        partitions=[
            {"topic": t, "partition": p, "count": n, "minOffset": first, "maxOffset": last}
            for (t, p), (n, first, last) in spans.items()
        ],
    )


def commit(consumer):
    """Commits everything returned so far and prints whether the broker took it."""
    try:
        offsets = consumer.commit(asynchronous=False)
        success, error = True, None
    except KafkaException as failure:
        offsets, success, error = [], False, str(failure)
    # A partition of which nothing was consumed is listed too, with an offset below zero.
    kept = [o for o in offsets if o.offset >= 0]
    listed = [{"topic": o.topic, "partition": o.partition, "offset": o.offset} for o in kept]
    emit("offsets_committed", offsets=listed, success=success, error=error)


def main(bootstrap, group, topic):
    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(
        [topic],
        on_assign=lambda _, ps: emit("partitions_assigned", partitions=named(ps)),
        on_revoke=lambda _, ps: emit("partitions_revoked", partitions=named(ps)),
        on_lost=lambda _, ps: emit("partitions_lost", partitions=named(ps)),
    )
    emit("startup_complete", client=f"librdkafka {libversion()[0]}")
    while not stopping:
        messages = consumer.consume(BATCH_MAX, POLL_SECONDS)
        for message in messages:
            if message.error():
                emit("error", error=str(message.error()))
        messages = [m for m in messages if not m.error()]
        if messages:
            consumed(messages)
            commit(consumer)
    consumer.close()
    emit("shutdown_complete")


if __name__ == "__main__":
    main(*sys.argv[1:4])
