"""Every private name of Faust, mode and aiokafka that we read, call or override, by the class that has it.

An upgrade begins here: `tests/streams/test_faust_internals.py` says which of them are gone, and that none is used that
is not in the table. docs/upstream.md says what each workaround is for.
"""

from collections.abc import Mapping
from typing import Final

INTERNALS: Final[Mapping[str, Mapping[str, str]]] = {
    "faust.transport.consumer:Consumer": {
        "_committed_offset": "the last commit, by partition",
        "_read_offset": "how far is read, by partition; None where nothing was committed",
        "_unacked_messages": "what a stop or a rebalance waits for",
        "_waiting_for_ack": "wakes it, None while nobody waits",
        "_is_changelog_tp": "whether a partition is a changelog's",
        "_commit": "commit offsets at once",
        "_filter_tps_with_pending_acks": "overridden: which partitions a commit looks at",
        "_new_offset": "overridden: up to which offset a commit goes",
        "_add_gap": "overridden: Faust books a gap at every jump, and so from run to run",
    },
    "faust.transport.consumer:ThreadDelegateConsumer": {
        "_new_consumer_thread": "overridden: the service that runs aiokafka",
        "_thread": "that service",
    },
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread": {
        "_create_worker_consumer": "overridden: the consumer reads committed records, and its commits carry a note",
        "_fetch_records": "overridden: inputs come in runs; what is fetched while the flow is stopped is put back",
        "_highwaters": "overridden: the ends of the logs, open transactions included",
        "_ensure_consumer": "aiokafka's consumer",
        "_consumer": "the same, None before it is made",
    },
    "faust.transport.drivers.aiokafka:Consumer": {"_to_message": "makes a message of what was fetched, here of a run"},
    "faust.app.base:App": {
        "_consumer": "the consumer, None before it is made",
        "_new_transport": "overridden: the strict transport",
    },
    "faust.stores.rocksdb:Store": {
        "_dbs": "the open databases, by partition",
        "_db_for_partition": "the database of a partition, opened where it is not",
        "_open_for_partition": "overridden: damage is moved aside",
        "_visible_items": "overridden: entries of ours are no states",
        "_visible_keys": "overridden: likewise",
    },
    "faust.tables.base:Collection": {"_new_store_by_url": "overridden: the fenced store"},
    "mode.threads:ServiceThread": {
        "_serve": "what its thread runs, here a task",
        "_gather_remaining_tasks": "overridden: the loop has other tasks than its own",
        "_keepalive2": "overridden: there is no thread to be woken",
        "set_shutdown": "says that the service has ended",
    },
    "mode.services:Service": {"_crash": "overridden: the process ends at once"},
    "mode.worker:Worker": {
        "_on_sigterm": "what SIGHUP does, too",
        "_on_sigusr2": "overridden: no debugger",
    },
    "aiokafka.consumer.consumer:AIOKafkaConsumer": {
        "_client": "the connections",
        "_coordinator": "the member of the group",
        "_fetcher": "what fetches ahead",
        "_fetch_max_wait_ms": "how long the broker holds a fetch; Faust passes a constant",
        "_isolation_level": "which records of transactions are read; Faust has no setting",
        "_request_timeout_ms": "how long a request may take",
        "_subscription": "positions and ends, without waiting for them",
    },
    "aiokafka.consumer.fetcher:Fetcher": {
        "_fetch_task": "ended = the consumer has given up",
        "_isolation_level": "as above, of one request",
        "_get_actions_per_node": "wrapped: fetches that leave out inputs are short",
        "_proc_fetch_request": "wrapped: when a fetch began",
        "_records": "what was fetched and nobody has taken yet, by partition",
        "_select_read_replica": "which broker a partition is fetched from",
    },
    "aiokafka.protocol.fetch:FetchRequest": {"_max_wait_ms": "how long the broker holds it"},
    "aiokafka.consumer.group_coordinator:GroupCoordinator": {
        "_coordination_task": "ended = the consumer has given up",
        "_pending_exception": "an error that waits for a caller",
        "_send_req": "every request to the group, and its answer",
    },
    "aiokafka.client:AIOKafkaClient": {"_sync_task": "ended = the consumer has given up"},
}
