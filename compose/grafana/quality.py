"""Are the answers good: who gives them, are they clicked, do probabilities hold, is the catalog there, what trends."""

from compose.grafana.panels import DashboardPage, Panel, Query, increase, of, or_nothing, rate, share

_ANSWERS = (
    Panel(
        title="Share of the tiers",
        description="Who gave the answers: model > knn > popular > default; `none` is an empty answer.",
        queries=[
            Query(
                f"{rate('insession_answers_total', by='tier')} / on () group_left () {rate('insession_answers_total')}",
                "{{tier}}",
            )
        ],
        unit="percentunit",
        runbook="modelsharebudgetburn",
        stacked=True,
        maximum=1,
    ),
    Panel(
        title="Why not the model",
        description="Answers a second below the model tier, by reason. `cheap` (late, bot, no consent), "
        "`unseen_items` and `filtered_out` are no faults.",
        queries=[Query(rate("insession_answers_total", 'tier!="model"', 'reason!="ok"', by="reason"), "{{reason}}")],
        unit="reqps",
        runbook="modelsharebudgetburn",
        stacked=True,
    ),
    Panel(
        title="Live hit rate of the next click",
        description="Over fifteen minutes: share of clicks whose item was among the items of the answer shown before, "
        "by that answer's tier.",
        queries=[
            Query(
                share(
                    increase("insession_outcomes_total", 'action="click"', 'position!="none"', by="tier", over="15m"),
                    increase("insession_outcomes_total", 'action="click"', by="tier", over="15m"),
                ),
                "{{tier}}",
            ),
        ],
        unit="percentunit",
        runbook="hitratefell",
    ),
    Panel(
        title="Live MRR of the next click",
        description="Over fifteen minutes: mean of 1 / position of the clicked item, 0 where it was not shown, by the "
        "answer's tier.",
        queries=[
            Query(
                share(
                    increase("insession_outcome_reciprocal_rank_total", 'action="click"', by="tier", over="15m"),
                    increase("insession_outcomes_total", 'action="click"', by="tier", over="15m"),
                ),
                "{{tier}}",
            )
        ],
        unit="short",
        runbook="hitratefell",
    ),
    Panel(
        title="Where the clicks were",
        description="Clicks a second by the position of the item in the answer shown before.",
        queries=[Query(rate("insession_outcomes_total", 'action="click"', by="position"), "{{position}}")],
        unit="reqps",
        runbook="hitratefell",
        stacked=True,
    ),
    Panel(
        title="Hit rate by action",
        description="Over fifteen minutes: share of clicks, carts and purchases whose item had been recommended.",
        queries=[
            Query(
                share(
                    increase("insession_outcomes_total", 'position!="none"', by="action", over="15m"),
                    increase("insession_outcomes_total", by="action", over="15m"),
                ),
                "{{action}}",
            )
        ],
        unit="percentunit",
        runbook="hitratefell",
    ),
    Panel(
        title="What stays of a list",
        description="Of the first ten items of an answer, those among the first ten of the session's next one, and how "
        "alike both are, the first places above all. Steadier lists: serving.keep_bonus.",
        queries=[
            Query(share(rate("insession_list_kept_ratio_sum"), rate("insession_list_kept_ratio_count")), "kept of ten"),
            Query(
                share(rate("insession_list_overlap_ratio_sum"), rate("insession_list_overlap_ratio_count")), "overlap"
            ),
        ],
        unit="percentunit",
        width=24,
        runbook="hitratefell",
    ),
)

_INTENT = (
    Panel(
        title="Purchases, observed over expected",
        description="Over six hours: purchases that followed the intent signals of ended sessions, divided by the sum "
        "of their probabilities. 1 is calibrated, above 1 the model tells too little.",
        queries=[
            Query(
                share(
                    increase("insession_intent_purchases_total", over="6h"),
                    increase("insession_intent_expected_purchases_total", over="6h"),
                ),
                "all bands",
            )
        ],
        unit="short",
        runbook="intentmiscalibrated",
    ),
    Panel(
        title="Observed over expected by band",
        description="The same by band of predicted probability, named by its upper end. A good model is near 1 in "
        "every band that has enough signals.",
        queries=[
            Query(
                share(
                    increase("insession_intent_purchases_total", by="up_to", over="6h"),
                    increase("insession_intent_expected_purchases_total", by="up_to", over="6h"),
                ),
                "up to {{up_to}}",
            ),
        ],
        unit="short",
        runbook="intentmiscalibrated",
    ),
    Panel(
        title="Signals counted by band",
        description="Intent signals a second whose session has ended, by band of predicted probability.",
        queries=[Query(rate("insession_intent_signals_total", by="up_to"), "up to {{up_to}}")],
        unit="reqps",
        runbook="intentmiscalibrated",
        stacked=True,
    ),
)

_KEYS_WITHOUT_ITEM = of("insession_catalog_unreadable_records_total", 'reason="unreadable_key"')
_CATALOG = (
    Panel(
        title="Since the last catalog record",
        description="How long the shop has not written to the catalog topic.",
        queries=[
            Query(
                f"time() - max by (instance) ({of('insession_catalog_last_record_timestamp_seconds')} > 0)",
                "{{instance}}",
            )
        ],
        unit="s",
        runbook="catalogstale",
        warn_at=6 * 3600,
        alarm_at=24 * 3600,
        row="Catalog",
    ),
    Panel(
        title="Items in the catalog view",
        description="Items that each worker knows from the catalog topic; all workers should agree.",
        queries=[Query(f"sum by (instance) ({of('insession_catalog_items')})", "{{instance}}")],
        unit="short",
        runbook="catalogincomplete",
    ),
    Panel(
        title="Catalog view complete",
        description="1 once the view has reached the end of the topic that it saw at start.",
        queries=[Query(f"min by (instance) ({of('insession_catalog_caught_up')})", "{{instance}}")],
        unit="short",
        runbook="catalogincomplete",
        warn_at=1,
        alarm_at=1,
        falling=True,
        maximum=1,
    ),
    Panel(
        title="Closed items",
        description="Items that are not recommended because their last catalog record cannot be read, records whose "
        "key names no item, and records that were passed over because of a bug.",
        queries=[
            Query(f"max({of('insession_catalog_closed_items')})", "closed"),
            Query(f"max({_KEYS_WITHOUT_ITEM})", "no item in the key"),
            Query(f"max({of('insession_catalog_failed_records_total')})", "passed over"),
        ],
        unit="short",
        runbook="catalogunreadable",
        warn_at=1,
    ),
    Panel(
        title="Repaired catalog fields",
        description="Fields of catalog records, in an hour, that were repaired or left out; the items are recommended.",
        queries=[
            Query(
                or_nothing(increase("insession_repaired_catalog_fields_total", by="field, reason")),
                "{{field}} {{reason}}",
            )
        ],
        unit="short",
        runbook="catalogunreadable",
    ),
)

_RULES = (
    Panel(
        title="Merchants' rules in force",
        description="Rules that hold for somebody at this time, by what each worker knows; all workers should agree.",
        queries=[Query(f"sum by (instance) ({of('insession_rules_in_force')})", "{{instance}}")],
        unit="short",
        runbook="rulesrefused",
    ),
    Panel(
        title="Answers changed by rules",
        description="Rules that changed an answer, a second, by what they do; a rule counts once an answer.",
        queries=[Query(rate("insession_rules_applied_total", by="action"), "{{action}}")],
        unit="reqps",
        runbook="rulesrefused",
        stacked=True,
    ),
    Panel(
        title="Refused rules",
        description="Rules whose last record cannot be read, where the last good one stays, and such records by "
        "reason.",
        queries=[
            Query(f"max({of('insession_rules_refused')})", "refused now"),
            Query(f"max by (reason) ({of('insession_refused_rule_records_total')})", "records: {{reason}}"),
            Query(f"max({of('insession_merchant_rules_failed_records_total')})", "records: a bug"),
        ],
        unit="short",
        runbook="rulesrefused",
        warn_at=1,
    ),
    Panel(
        title="Since the last change of a rule",
        description="How long nobody has written to the topic of rules; 0 while the view of it is not complete.",
        queries=[
            Query(
                f"(time() - {of('insession_merchant_rules_last_record_timestamp_seconds')}) * "
                f"{of('insession_merchant_rules_caught_up')}",
                "{{instance}}",
            )
        ],
        unit="s",
        runbook="rulesincomplete",
    ),
)
_LISTS_READ = of("insession_trending_last_record_timestamp_seconds")
_TRENDING = (
    Panel(
        title="Since the last list of what is trending",
        description="How long no worker has read a record of the topic; 0 also where no observer ever wrote.",
        queries=[Query(or_nothing(f"time() - max({_LISTS_READ} > 0)"), "all workers")],
        unit="s",
        runbook="trendingstale",
        warn_at=120,
        alarm_at=300,
        row="Trending",
    ),
    Panel(
        title="Lists of what is trending",
        description="Places of which the workers know what is trending, least and most; whether a view has read to the "
        "end it saw at start, or its lists are too old to be answered; records passed over because of a bug.",
        queries=[
            Query(f"min({of('insession_trending_lists')})", "least"),
            Query(f"max({of('insession_trending_lists')})", "most"),
            Query(f"min({of('insession_trending_caught_up')})", "read to the end"),
            Query(f"max({of('insession_trending_stale')})", "too old"),
            Query(increase("insession_trending_failed_records_total"), "passed over"),
        ],
        unit="short",
        runbook="trendingstale",
    ),
    Panel(
        title="Records before the observer",
        description="Records of recommendations that the observer has not read; above 10,000 it publishes nothing.",
        queries=[Query(or_nothing("max(insession_observer_lag_records)"), "records")],
        unit="short",
        runbook="observerlags",
        alarm_at=10_000,
    ),
    Panel(
        title="What the observer reads",
        description="Records of recommendations a second, by what they count: a view, nothing, or what was read "
        "already.",
        queries=[
            Query(
                or_nothing("sum by (result) (rate(insession_observer_records_total[$__rate_interval]))"), "{{result}}"
            )
        ],
        unit="reqps",
        runbook="the-observer",
        stacked=True,
    ),
    Panel(
        title="Observers that count",
        description="1 while one counts, whichever; the others wait for their turn.",
        queries=[Query(or_nothing("sum(insession_observer_active)"), "counting")],
        unit="short",
        runbook="observeraway",
        warn_at=1,
        falling=True,
    ),
    Panel(
        title="Places and items counted",
        description="Places with counts of their own, everywhere included, and items over all of them.",
        queries=[
            Query(or_nothing("max(insession_observer_places)"), "places"),
            Query(or_nothing("max(insession_observer_items)"), "items"),
        ],
        unit="short",
        runbook="the-observer",
    ),
    Panel(
        title="Lists with what was gone",
        description="Answers and default lists, in an hour, that held an item which had been gone for more than a "
        "second when they were written: none should. 0 as well while no observer has read the catalog.",
        queries=[
            Query(
                or_nothing("sum by (kind) (increase(insession_observer_unavailable_lists_total[1h]))"),
                "{{kind}}",
            )
        ],
        unit="short",
        runbook="unavailablelisted",
        alarm_at=1,
    ),
    Panel(
        title="Age of what the observer has",
        description="Since it last published what is trending everywhere, since it stored its counts, and since the "
        "latest view that it counts.",
        queries=[
            Query(or_nothing(f"time() - max({metric} > 0)"), legend)
            for metric, legend in (
                ("insession_observer_published_timestamp_seconds", "published"),
                ("insession_observer_stored_timestamp_seconds", "stored"),
                ("insession_observer_event_time_seconds", "latest view"),
            )
        ],
        unit="s",
        runbook="the-observer",
        warn_at=120,
        alarm_at=300,
    ),
    Panel(
        title="What the observer could not use",
        description="Since its start: stored places that were damaged and are counted anew, partitions of clickstreams "
        "that were made anew, offsets of inputs that nothing answers, items beyond what a record of a place takes, and "
        "records of its views.",
        queries=[
            Query(or_nothing("max(insession_observer_damaged_snapshots_total)"), "damaged places"),
            Query(or_nothing("max(insession_observer_void_offsets_total)"), "topics made anew"),
            Query(or_nothing("max(insession_observer_input_gaps_total)"), "inputs without a record"),
            Query(or_nothing("max(insession_observer_items_cut_total)"), "items cut"),
            Query(or_nothing("max(insession_observer_catalog_failed_records_total)"), "catalog records: a bug"),
            Query(or_nothing("max(insession_observer_default_lists_failed_records_total)"), "default lists: no record"),
        ],
        unit="short",
        runbook="observerstatedamaged",
    ),
    Panel(
        title="What the observer writes",
        description="Records a second: lists, their removals, stored places, and how far the whole is.",
        queries=[
            Query(
                or_nothing("sum by (kind) (rate(insession_observer_written_records_total[$__rate_interval]))"),
                "{{kind}}",
            )
        ],
        unit="reqps",
        runbook="the-observer",
        stacked=True,
    ),
    Panel(
        title="Bytes that the observer writes",
        description="A second, of the values before compression by the producer.",
        queries=[
            Query(
                or_nothing("sum by (kind) (rate(insession_observer_written_bytes_total[$__rate_interval]))"), "{{kind}}"
            )
        ],
        unit="bytes",
        runbook="the-observer",
        stacked=True,
    ),
    Panel(
        title="What the observer follows",
        description="Whether its views of the catalog and of the default lists are complete, and since when neither "
        "has had a record, in hours.",
        queries=[
            Query(or_nothing("max(insession_observer_catalog_caught_up)"), "catalog read"),
            Query(or_nothing("max(insession_observer_default_lists_caught_up)"), "default lists read"),
            Query(
                or_nothing("(time() - max(insession_observer_catalog_last_record_timestamp_seconds > 0)) / 3600"),
                "hours: catalog",
            ),
            Query(
                or_nothing("(time() - max(insession_observer_default_lists_last_record_timestamp_seconds > 0)) / 3600"),
                "hours: default lists",
            ),
        ],
        unit="short",
        runbook="listsunchecked",
    ),
)

QUALITY = DashboardPage(
    uid="insession-quality",
    title="insession / Quality",
    description="Are the answers good: who gives them, are they clicked, do the probabilities hold, are catalog "
    "and rules there, and what is trending.",
    panels=(*_ANSWERS, *_INTENT, *_TRENDING, *_CATALOG, *_RULES),
)
