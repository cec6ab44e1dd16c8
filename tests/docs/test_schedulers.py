"""The examples for schedulers, read: neither Kubernetes nor Airflow is here to run them."""

import ast
from typing import Any

import yaml

from agents.daily.records import STEPS
from tests import command_lines
from tests.compose.test_dockerfile import of
from tests.docs.documents import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def cron_job() -> dict[str, Any]:
    """Read the CronJob."""
    document: dict[str, Any] = yaml.safe_load((EXAMPLES / "cronjob.yaml").read_text())
    return document


def test_the_cron_job_has_what_kubernetes_asks_for() -> None:
    """The fields that batch/v1 requires of a CronJob, its job and its pod."""
    document = cron_job()
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    assert document["metadata"]["name"]
    assert len(document["spec"]["schedule"].split()) == 5
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] in {"Never", "OnFailure"}, "a Job takes no other"
    (container,) = pod["containers"]
    assert container["image"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_cron_job_runs_one_day_at_a_time_as_the_image_does() -> None:
    """By a command that exists, as the user of the image, with a work folder that outlives the pod."""
    spec = cron_job()["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert command_lines.parse(container["args"]).command.name == "run"
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert user == of("pipeline", "USER")[-1]
    (work,) = [volume for volume in pod["volumes"] if volume["name"] == "work"]
    assert "persistentVolumeClaim" in work


def dag() -> ast.Module:
    """Parse the DAG, without Airflow."""
    path = EXAMPLES / "airflow_dag.py"
    compile(path.read_text(), str(path), "exec")
    return ast.parse(path.read_text())


def values(tree: ast.Module) -> dict[str, Any]:
    """Return what the module assigns, which hangs on nothing but itself."""
    told: dict[str, Any] = {}
    assignments = [node for node in tree.body if isinstance(node, ast.Assign)]
    exec(compile(ast.Module(assignments, []), "airflow_dag", "exec"), told)  # noqa: S102 - our own example
    return told


def test_the_dag_has_a_task_a_step() -> None:
    """In their order, each by a command that exists."""
    told = values(dag())
    assert told["STEPS"] == STEPS
    for step in told["STEPS"]:
        arguments = told["COMMAND"].replace(told["DAY"], "2026-01-31").split()[1:]
        assert command_lines.parse([*arguments, step]).params["last"] == step


def test_the_dag_runs_one_day_at_a_time() -> None:
    """And imports nothing of ours: Airflow's own environment has it not."""
    tree = dag()
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DAG"
    ]
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    assert ast.literal_eval(keywords["max_active_runs"]) == 1
    assert {"dag_id", "schedule", "start_date"} <= {*keywords}
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {"airflow.sdk", "airflow.providers.standard.operators.bash", "datetime"}
