"""The daily loop under Airflow 3: a task a step, each the command that is also run by hand.

A step that is done is passed over, so tasks can be cleared and run again in any order. The work folder is one that all
workers of the queue `insession` share; one day is run at a time.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

STEPS = ("ingest", "sessions", "features", "tfrecords", "train", "evaluate", "checks", "register", "shadow", "promote")
DAY = "{{ data_interval_end.subtract(days=1) | ds }}"
COMMAND = f"insession pipeline run --config /etc/insession/worker.toml --day {DAY} --until"

with DAG(
    dag_id="insession",
    schedule="30 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=15), "queue": "insession"},
) as dag:
    before = None
    for step in STEPS:
        task = BashOperator(task_id=step, bash_command=f"{COMMAND} {step}")
        if before is not None:
            before >> task
        before = task
