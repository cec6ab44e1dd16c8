"""Do offsets move, is the group calm, does recovery work, how much state is there."""

from compose.grafana.panels import DashboardPage, Panel, Query, increase, of, or_nothing, quantiles, rate

KAFKA_STATE = DashboardPage(
    uid="insession-kafka-state",
    title="insession / Kafka and state",
    description="Do offsets move, is the group calm, does recovery work, how much state is there.",
    panels=(
        Panel(
            title="Workers",
            description="Workers that answer clicks now, as /readyz says, that are up, and of each version.",
            queries=[
                Query(f"sum({of('insession_ready')})", "ready"),
                Query('sum(up{job="$job"})', "up"),
                Query(f"count by (version) ({of('insession_build_info')})", "of {{version}}"),
            ],
            unit="none",
            runbook="workerdown",
            kind="stat",
            width=6,
        ),
        Panel(
            title="Oldest committed offset",
            description="How long the slowest partition's committed offset has stood still while there were clicks to "
            "answer. /healthz fails at 60 s.",
            queries=[Query(f"max({of('insession_committed_offset_age_seconds')})", "age")],
            unit="s",
            runbook="committedoffsetstuck",
            kind="stat",
            width=6,
            warn_at=10,
            alarm_at=60,
        ),
        Panel(
            title="Rebalances, last hour",
            description="Assignments given to the workers; each worker counts its own.",
            queries=[Query(increase("insession_rebalances_total"), "rebalances")],
            unit="none",
            runbook="rebalancestorm",
            kind="stat",
            width=6,
            warn_at=6,
            alarm_at=20,
        ),
        Panel(
            title="Entries in the tables",
            description="In the local tables of all workers, standbys included. RocksDB's estimate: a state that was "
            "written again counts again until it is compacted.",
            queries=[Query(f"sum({of('insession_table_keys')})", "entries")],
            unit="short",
            runbook="sizing",
            kind="stat",
            width=6,
        ),
        Panel(
            title="Partitions assigned",
            description="Clickstream partitions that each worker answers, and how many there are: what is missing "
            "belongs to nobody.",
            queries=[
                Query(f"sum by (instance) ({of('insession_partitions_assigned')})", "{{instance}}"),
                Query(f"max({of('insession_clickstream_partitions')})", "of"),
            ],
            unit="short",
            runbook="partitionsunassigned",
        ),
        Panel(
            title="Clock skew",
            description="How far the clocks behind the clicks' timestamps are ahead of each worker's; below 0: behind.",
            queries=[Query(f"max by (instance) ({of('insession_clock_skew_seconds')})", "{{instance}}")],
            unit="s",
            runbook="clockskew",
        ),
        Panel(
            title="Mended and refused",
            description="In an hour: damaged partitions and states that were put aside, and writes that came too late.",
            queries=[
                Query(increase("insession_partitions_healed_total"), "partitions healed"),
                Query(increase("insession_states_quarantined_total"), "states quarantined"),
                Query(increase("insession_lease_expired_total"), "leases expired"),
                Query(increase("insession_stale_states_total"), "states of lost owners passed over"),
                Query(increase("insession_forgotten_adoptions_total"), "sessions gone with a forgotten visitor"),
            ],
            unit="short",
            runbook="partitionshealed",
        ),
        Panel(
            title="Topics changed",
            description="1 for a topic that is gone, made anew or grown since the worker began; visitors, in an "
            "hour, whose offsets were of an earlier topic.",
            queries=[
                Query(f"max by (topic) ({of('insession_topic_changed')})", "{{topic}}"),
                Query(or_nothing(increase("insession_void_offsets_total")), "visitors with void offsets"),
            ],
            unit="short",
            runbook="topicchanged",
        ),
        Panel(
            title="Erased and blocked",
            description="Inputs a second of erased visitors, which build no state.",
            queries=[Query(rate("insession_blocked_inputs_total", by="kind"), "{{kind}}")],
            unit="reqps",
            runbook="erase-a-visitor",
        ),
        Panel(
            title="Bytes written at a click",
            description="Of a visitor's state, or of the mark of a click that moved nothing.",
            queries=quantiles("insession_state_bytes"),
            unit="bytes",
            runbook="what-a-visitor-may-take-up",
            warn_at=32 * 1024,
        ),
        Panel(
            title="Committed offset age by partition",
            description="How long each committed offset has stood still while there were clicks to answer.",
            queries=[
                Query(
                    f"max by (topic, partition) ({of('insession_committed_offset_age_seconds')})",
                    "{{topic}} {{partition}}",
                )
            ],
            unit="s",
            runbook="committedoffsetstuck",
            warn_at=10,
            alarm_at=60,
        ),
        Panel(
            title="Events in flight",
            description="Read and not yet acknowledged. kafka.window_span bounds it for each partition.",
            queries=[Query(f"sum by (instance) ({of('insession_in_flight_events')})", "{{instance}}")],
            unit="short",
            runbook="laggrows",
        ),
        Panel(
            title="Rebalances",
            description="Assignments a worker was given in ten minutes.",
            queries=[Query(increase("insession_rebalances_total", by="instance", over="10m"), "{{instance}}")],
            unit="short",
            runbook="rebalancestorm",
            warn_at=5,
        ),
        Panel(
            title="Recovering",
            description="1 while a worker reads its state from the changelog; its clicks wait for that.",
            queries=[Query(f"max by (instance) ({of('insession_recovering')})", "{{instance}}")],
            unit="short",
            runbook="recoverytakeslong",
            maximum=1,
        ),
        Panel(
            title="Latest recovery",
            description="From the latest assignment to the end of the recovery of its state.",
            queries=[Query(f"max by (instance) ({of('insession_last_recovery_seconds')})", "{{instance}}")],
            unit="s",
            runbook="recoverytakeslong",
            warn_at=60,
            alarm_at=300,
        ),
        Panel(
            title="Bytes in the tables",
            description="Bytes of each worker's local table, on disk and in memory.",
            queries=[Query(f"sum by (instance) ({of('insession_table_bytes')})", "{{instance}}")],
            unit="bytes",
            runbook="sizing",
        ),
        Panel(
            title="Offsets fetched again",
            description="Fetches repeated because an offset was missing, by where it was seen, and gaps that a fresh "
            "fetch confirmed. A few at each rebalance are normal (docs/adr/0003).",
            queries=[
                Query(rate("insession_offset_resyncs_total", by="where"), "at the {{where}}"),
                Query(rate("insession_offset_gaps_total", by="reason"), "gaps: {{reason}}"),
            ],
            unit="reqps",
            runbook="rebalancestorm",
        ),
        Panel(
            title="Default lists",
            description="Lists on default-recommendations in ten minutes, by what became of them; consumers fall back "
            "on them.",
            queries=[Query(increase("insession_default_lists_total", by="result", over="10m"), "{{result}}")],
            unit="short",
            runbook="defaultlistsfail",
        ),
        Panel(
            title="Session ends",
            description="Sessions closed a second, by why.",
            queries=[Query(rate("insession_session_ends_total", by="reason"), "{{reason}}")],
            unit="reqps",
            runbook="committedoffsetstuck",
            stacked=True,
        ),
    ),
)
