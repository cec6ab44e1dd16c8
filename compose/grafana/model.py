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
        Panel(
            title="Answers of the release on trial",
            description="By tier: shown to a canary's visitors, to nobody by a shadow.",
            queries=[Query(rate("insession_candidate_answers_total", by="tier"), "{{tier}}")],
            unit="reqps",
            runbook="a-release-on-trial",
            stacked=True,
        ),
        Panel(
            title="Answer latency of the release on trial",
            description="From asking for an answer to having it.",
            queries=quantiles("insession_candidate_answer_latency_seconds"),
            unit="s",
            runbook="a-release-on-trial",
        ),
        Panel(
            title="Predict latency of the release on trial",
            description="From sending a Predict to its result, failed ones included.",
            queries=quantiles("insession_candidate_model_latency_seconds"),
            unit="s",
            runbook="a-release-on-trial",
        ),
        Panel(
            title="Failed Predicts of the release on trial",
            description="Calls a second that failed, by reason.",
            queries=[Query(rate("insession_candidate_model_failures_total", by="reason"), "{{reason}}")],
            unit="reqps",
            runbook="a-release-on-trial",
            stacked=True,
        ),
        Panel(
            title="Rows before the release on trial",
            description="Rows of a Predict, rows that wait for the next one, and how many may.",
            queries=[
                Query(
                    share(
                        rate("insession_candidate_model_batch_size_sum"),
                        rate("insession_candidate_model_batch_size_count"),
                    ),
                    "rows of a Predict",
                ),
                Query(f"sum({of('insession_candidate_model_waiting_rows')})", "waiting"),
                Query(f"sum({of('insession_candidate_model_waiting_rows_limit')})", "limit"),
            ],
            unit="short",
            runbook="a-release-on-trial",
        ),
        Panel(
            title="Release on trial",
            description="Version of the canary or shadow that each worker asks; 0 = none.",
            queries=[Query(f"max by (instance) ({of('insession_candidate_version')})", "{{instance}}")],
            unit="none",
            runbook="a-release-on-trial",
            kind="stat",
            width=6,
        ),
        Panel(
            title="Breaker of the release on trial",
            description="1 while it is left alone after repeated failure; the champion has a breaker of its own.",
            queries=[Query(f"max by (instance) ({of('insession_candidate_breaker_open')})", "{{instance}}")],
            unit="none",
            runbook="a-release-on-trial",
            kind="stat",
            width=6,
            alarm_at=1,
        ),
        Panel(
            title="Items that the shadow shares",
            description="Share of the items shown that the shadow lists, too.",
            queries=[
                Query(
                    share(rate("insession_shadow_shared_items_total"), rate("insession_shadow_compared_items_total")),
                    "shared",
                )
            ],
            unit="percentunit",
            runbook="a-release-on-trial",
            kind="stat",
            width=6,
        ),
        Panel(
            title="Answers that the shadow was not asked for",
            description="By reason: too many under way, or a failure.",
            queries=[Query(rate("insession_shadow_skipped_total", by="reason"), "{{reason}}")],
            unit="reqps",
            runbook="a-release-on-trial",
            width=6,
        ),
    ),
)
