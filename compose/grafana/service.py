"""Does the service answer clicks, fast enough, and how near is it to its limits."""

from compose.grafana.panels import DashboardPage, Panel, Query, increase, of, quantile, quantiles, rate, share

_NOW = (
    Panel(
        title="Clicks",
        description="Clickstream records answered a second, whatever their status.",
        queries=[Query(rate("insession_events_total"), "clicks")],
        unit="reqps",
        runbook="noinput",
        kind="stat",
        width=6,
    ),
    Panel(
        title="Within 500 ms",
        description="Share of clicks whose answer was on the broker 500 ms after the click. The objective is 99 %.",
        queries=[
            Query(
                share(
                    rate("insession_end_to_end_seconds_bucket", 'le="0.5"'), rate("insession_end_to_end_seconds_count")
                ),
                "in time",
            )
        ],
        unit="percentunit",
        runbook="answerlatencybudgetburn",
        kind="stat",
        width=6,
        warn_at=0.995,
        alarm_at=0.99,
        falling=True,
    ),
    Panel(
        title="Lag",
        description="Records behind the committed offsets of all partitions. About a second of clicks is the commit "
        "interval's.",
        queries=[Query(f"sum({of('insession_consumer_lag_records')})", "records")],
        unit="short",
        runbook="laggrows",
        kind="stat",
        width=6,
        warn_at=2_000,
        alarm_at=20_000,
    ),
    Panel(
        title="Dead letters, last hour",
        description="Records that could not be used, with their original bytes on the dead-letter topic.",
        queries=[Query(increase("insession_dead_letters_total"), "records")],
        unit="short",
        runbook="deadletters",
        kind="stat",
        width=6,
        warn_at=1,
        alarm_at=1_000,
    ),
)

_FLOW = (
    Panel(
        title="Clicks by status",
        description="What became of each clickstream record. Only `answered` moves a session.",
        queries=[Query(rate("insession_events_total", by="status"), "{{status}}")],
        unit="reqps",
        runbook="noinput",
        stacked=True,
    ),
    Panel(
        title="Click to answer",
        description="From the click's timestamp in Kafka to the acknowledgement of everything that it caused.",
        queries=quantiles("insession_end_to_end_seconds"),
        unit="s",
        runbook="answerlatencybudgetburn",
        warn_at=0.25,
        alarm_at=0.5,
    ),
    Panel(
        title="Age of clicks when they are read",
        description="From the click's timestamp in Kafka to the worker that reads it: what the answer cannot win back.",
        queries=quantiles("insession_record_age_seconds"),
        unit="s",
        runbook="lagstays",
    ),
    Panel(
        title="Time to an answer by tier, p95",
        description="From asking the fallback chain to having the answer, by the tier that gave it.",
        queries=[Query(quantile(0.95, "insession_answer_latency_seconds", by="tier"), "{{tier}}")],
        unit="s",
        runbook="answerlatencybudgetburn",
    ),
    Panel(
        title="Lag by partition",
        description="Records between the committed offset and the partition's end.",
        queries=[
            Query(f"sum by (topic, partition) ({of('insession_consumer_lag_records')})", "{{topic}} {{partition}}")
        ],
        unit="short",
        runbook="laggrows",
    ),
    Panel(
        title="Dead letters by reason",
        description="Records a second that went to the dead-letter topic.",
        queries=[Query(rate("insession_dead_letters_total", by="reason"), "{{reason}}")],
        unit="reqps",
        runbook="deadletters",
        stacked=True,
    ),
    Panel(
        title="Ignored and repaired",
        description="Records a second that are not for us, by reason, and fields that were repaired or left out.",
        queries=[
            Query(rate("insession_ignored_records_total", by="reason"), "ignored: {{reason}}"),
            Query(rate("insession_repaired_fields_total", by="field, reason"), "{{field}} {{reason}}"),
            Query(rate("insession_malformed_trace_headers_total", by="header"), "trace header: {{header}}"),
        ],
        unit="reqps",
        runbook="deadletters",
        stacked=True,
    ),
    Panel(
        title="Error budget burn, last hour",
        description="How many times faster than allowed each objective's error budget is spent; 14.4 pages.",
        queries=[Query("slo:sli_error:ratio_rate1h / on (slo) slo:error_budget:ratio", "{{slo}}")],
        unit="short",
        runbook="objectives",
        warn_at=1,
        alarm_at=14.4,
    ),
)

_SCHEMAS = Panel(
    title="Schemas of the input",
    description="Schemas asked of the registry a second, and 1 while the input waits for one.",
    queries=[
        Query(rate("insession_schema_requests_total", by="result"), "{{result}}"),
        Query(f"max by (instance) ({of('insession_schema_awaited')})", "{{instance}} waits"),
    ],
    unit="short",
    runbook="inputawaitsschema",
)

_SATURATION = (
    Panel(
        title="Saturation",
        description="Share in use of the fullest in-order window and of the queue before the model. At 1 the window "
        "makes clicks wait, and the queue turns rows away.",
        queries=[
            Query(f"max by (instance) ({of('insession_window_full_ratio')})", "window {{instance}}"),
            Query(
                f"max by (instance) ({of('insession_model_waiting_rows')} / "
                f"{of('insession_model_waiting_rows_limit')})",
                "model queue {{instance}}",
            ),
        ],
        unit="percentunit",
        runbook="laggrows",
        maximum=1,
        warn_at=0.7,
        alarm_at=0.95,
    ),
    Panel(
        title="CPU",
        description="Cores in use by each worker. One worker is one event loop: it is full at about one core.",
        queries=[Query(rate("process_cpu_seconds_total", by="instance"), "{{instance}}")],
        unit="short",
        runbook="scaling",
        warn_at=0.7,
        alarm_at=0.95,
    ),
    Panel(
        title="Memory",
        description="Resident memory of each worker, and what its container or machine allows.",
        queries=[
            Query(f"sum by (instance) ({of('process_resident_memory_bytes')})", "{{instance}}"),
            Query(f"max by (instance) ({of('insession_memory_limit_bytes')})", "limit of {{instance}}"),
        ],
        unit="bytes",
        runbook="memorynearlimit",
    ),
    Panel(
        title="Disk left",
        description="Share of the disk under kafka.datadir that is free.",
        queries=[
            Query(
                f"min by (instance) ({of('insession_disk_free_bytes')} / {of('insession_disk_size_bytes')})",
                "{{instance}}",
            )
        ],
        unit="percentunit",
        runbook="disknearlyfull",
        maximum=1,
        warn_at=0.25,
        alarm_at=0.1,
        falling=True,
    ),
    Panel(
        title="Log lines held back",
        description="Repeats a second that were counted and not written.",
        queries=[Query(rate("insession_log_lines_suppressed_total", by="instance"), "{{instance}}")],
        unit="reqps",
        runbook="logs",
    ),
)

SERVICE = DashboardPage(
    uid="insession-service",
    title="insession / Service",
    description="Does the service answer clicks, fast enough, and how near is it to its limits.",
    panels=(*_NOW, *_FLOW, *_SATURATION, _SCHEMAS),
)
