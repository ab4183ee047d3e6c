"""A Kafka broker in memory, for Milvus' log: `broker.py FILE` writes its address to FILE and serves until it is killed.

It is the broker that Kafka's C library brings for its own tests. It keeps a few megabytes of each partition and loses all with
its process, which is enough for a bench that restarts Milvus' coordinators and never the broker.
"""

import os
import sys

from confluent_kafka import KafkaException, Producer


def main(file):
    producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1})
    while True:
        try:
            (broker,) = producer.list_topics(timeout=5).brokers.values()
            break
        except (KafkaException, ValueError):
            continue
    with open(f"{file}.new", "w", encoding="ascii") as out:
        out.write(f"{broker.host}:{broker.port}")
    os.rename(f"{file}.new", file)
    while True:
        producer.poll(1)


if __name__ == "__main__":
    main(sys.argv[1])
