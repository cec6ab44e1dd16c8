"""Which release answers, how old it is, and how asking it goes."""

from compose.grafana.panels import DashboardPage, Panel, Query, increase, of, quantile, quantiles, rate, share

MODEL = DashboardPage(
    uid="insession-model",
    title="insession / Model",
    description="Which release answers, how old it is, and how asking it goes.",
    panels=(
        Panel(
            title="Release in use",
            description="Version of each worker's release; 0 = none. All workers should be on the same soon after a "
            "release.",
            queries=[Query(f"max by (instance) ({of('insession_release_version')})", "{{instance}}")],
            unit="none",
            runbook="releaserejected",
            kind="stat",
            width=6,
        ),
        Panel(
            title="Age of the release",
            description="Since the release in use was made.",
            queries=[
                Query(
                    f"time() - max by (instance) ({of('insession_release_created_timestamp_seconds')} > 0)",
                    "{{instance}}",
                )
            ],
            unit="s",
            runbook="releasetooold",
            kind="stat",
            width=6,
            warn_at=3 * 86400,
            alarm_at=7 * 86400,
        ),
        Panel(
            title="Breaker open",
            description="1 while the model is left alone after repeated failure.",
            queries=[Query(f"max by (instance) ({of('insession_breaker_open')})", "{{instance}}")],
            unit="none",
            runbook="breakeropen",
            kind="stat",
            width=6,
            alarm_at=1,
        ),
        Panel(
            title="Releases rejected, last day",
            description="Releases that did not pass verification.",
            queries=[Query(increase("insession_releases_rejected_total", over="1d"), "releases")],
            unit="none",
            runbook="releaserejected",
            kind="stat",
            width=6,
            alarm_at=1,
        ),
        Panel(
            title="Predict latency",
            description="From sending a Predict to its result, failed ones included.",
            queries=quantiles("insession_model_latency_seconds"),
            unit="s",
            runbook="breakeropen",
            warn_at=0.1,
            alarm_at=0.4,
        ),
        Panel(
            title="Predicts",
            description="Calls a second; rows gather while one runs, so fewer calls than clicks is good.",
            queries=[Query(rate("insession_model_latency_seconds_count", by="instance"), "{{instance}}")],
            unit="reqps",
            runbook="scaling",
        ),
        Panel(
            title="Batch size",
            description="Rows of a Predict. It grows with load; serving.max_batch bounds it.",
            queries=[
                Query(
                    share(rate("insession_model_batch_size_sum"), rate("insession_model_batch_size_count")),
                    "mean",
                ),
                Query(quantile(0.95, "insession_model_batch_size"), "p95"),
            ],
            unit="short",
            runbook="scaling",
        ),
        Panel(
            title="Failed Predicts",
            description="Calls a second that failed, by reason.",
            queries=[Query(rate("insession_model_failures_total", by="reason"), "{{reason}}")],
            unit="reqps",
            runbook="breakeropen",
            stacked=True,
        ),
        Panel(
            title="Rows before the model",
            description="Rows that wait for the next Predict.",
            queries=[Query(f"sum by (instance) ({of('insession_model_waiting_rows')})", "{{instance}}")],
            unit="short",
            runbook="scaling",
        ),
        Panel(
            title="Model tier",
            description="Share of the personal answers that the model gave. The objective is 95 %.",
            queries=[
                Query(
                    share(
                        rate("insession_answers_total", 'tier="model"', 'reason="ok"'),
                        rate("insession_answers_total", 'reason!~"cheap|unseen_items|filtered_out"'),
                    ),
                    "model",
                )
            ],
            unit="percentunit",
            runbook="modelsharebudgetburn",
            warn_at=0.97,
            alarm_at=0.95,
            falling=True,
            maximum=1,
        ),
        Panel(
            title="Release of worker and model server",
            description="1 where worker and model server share a release; at 0 clicks are answered without the model.",
            queries=[Query(f"min by (instance) ({of('insession_release_common')})", "{{instance}}")],
            unit="short",
            runbook="releasenotshared",
            maximum=1,
        ),
    ),
)
