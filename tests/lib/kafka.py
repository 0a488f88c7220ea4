"""Kafka asked with patience: a broker that has just come back, or stood still for seconds, is asked again."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from lib.wait import wait_until

PATIENCE_S = 60
# What a fenced broker says, and one that does not know yet what it leads.
PASSING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}


def patiently(ask):
    """What ask() returns, once Kafka has an answer."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaException as e:
            if e.args[0].code() not in PASSING or time.monotonic() >= deadline:
                raise
            time.sleep(0.1)


def _done(futures):
    for future in futures.values():
        future.result(timeout=PATIENCE_S)


def new_topic(name, partitions, **config):
    """As seckillctl makes one; config: message_timestamp_type="CreateTime" for message.timestamp.type."""
    given = {key.replace("_", "."): str(value) for key, value in config.items()}
    return NewTopic(name, partitions, 1, config={"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"} | given)


def make_topics(brokers, topics):
    """Returns when the broker leads every partition of them."""
    admin = AdminClient({"bootstrap.servers": brokers})

    def make():
        try:
            _done(admin.create_topics(topics))
        except KafkaException as e:
            # Asked again after an answer that was lost.
            if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def are_led():
        known = patiently(lambda: admin.list_topics(timeout=10)).topics
        made = [known[t.topic].partitions if t.topic in known else {} for t in topics]
        return all(
            len(partitions) == t.num_partitions and all(p.leader >= 0 for p in partitions.values())
            for t, partitions in zip(topics, made)
        )

    patiently(make)
    wait_until(are_led, 60, "the topics have leaders")


def delete_topic(brokers, topic):
    """Returns when the broker does not know it any more."""
    admin = AdminClient({"bootstrap.servers": brokers})

    def delete():
        try:
            _done(admin.delete_topics([topic]))
        except KafkaException as e:
            if e.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise

    patiently(delete)
    wait_until(lambda: topic not in patiently(lambda: admin.list_topics(timeout=10)).topics, 60, f"{topic} is gone")


def grow_topic(brokers, topic, partitions):
    """Returns when the broker leads so many partitions of it."""
    admin = AdminClient({"bootstrap.servers": brokers})

    def grow():
        try:
            _done(admin.create_partitions([NewPartitions(topic, partitions)]))
        except KafkaException as e:
            # So it says when it has as many, asked again after an answer that was lost.
            if e.args[0].code() != KafkaError.INVALID_PARTITIONS:
                raise

    def is_grown():
        known = patiently(lambda: admin.list_topics(topic, timeout=10)).topics[topic].partitions
        return len(known) == partitions and all(p.leader >= 0 for p in known.values())

    patiently(grow)
    wait_until(is_grown, 60, f"{topic} has {partitions} partitions")


def configure(brokers, resource):
    """Committed when this returns; the broker goes by it soon after."""
    admin = AdminClient({"bootstrap.servers": brokers})
    patiently(lambda: _done(admin.alter_configs([resource])))


def reader(brokers, **settings):
    """A consumer of no group, which soon believes again that there is a partition whose broker was fenced."""
    fixed = {"bootstrap.servers": brokers, "group.id": "unused", "enable.auto.commit": False}
    return Consumer(fixed | {"topic.metadata.refresh.interval.ms": 1000} | settings)


def watermarks(brokers, topic, partition):
    """Begin and end of a partition."""

    def ask():
        # A new client each time: one that met a fenced broker believes for minutes that there is no partition.
        consumer = reader(brokers)
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        finally:
            consumer.close()

    return patiently(ask)


def next_record(consumer):
    """The next that comes; errors that pass are passed over."""

    def record():
        message = consumer.poll(0.2)
        return message is not None and not message.error() and message

    return wait_until(record, 60, "a record")


def first_record(brokers, topic, partition=0):
    consumer = reader(brokers)
    consumer.assign([TopicPartition(topic, partition, 0)])
    try:
        return next_record(consumer).value()
    finally:
        consumer.close()
