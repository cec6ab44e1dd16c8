import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.cli import insession
from schemas import wire
from streams.cluster.topics import Topic, TopicsError
from tests.builders.clicks import click
from tests.conftest import where_kafka_is
from tests.kafka.deployment import Deploy, Deployment, NewRecord
from tests.kafka.secure_node import KEY_PASSWORD, PASSWORD, USER, SecureNode, make_certificates
from tests.kafka.worker_process import WorkerProcess
from tests.token_endpoint import TokenEndpoint

pytestmark = pytest.mark.kafka

SECONDS_TO_GIVE_UP = 60.0
"""Far more than it takes on an idle machine, and far less than for ever."""
TOKEN_LIFE_SECONDS = 15


@pytest.fixture(scope="module")
def secure_node(kafka_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNode]:  # noqa: ARG001
    """Run one node with a SASL_SSL listener for the tests of this module."""
    with where_kafka_is(), SecureNode(make_certificates(tmp_path_factory.mktemp("certificates"))) as node:
        yield node


@pytest.fixture(scope="module")
def kafka_brokers(secure_node: SecureNode) -> str:
    """Let topics and books of these tests be on the secure node, by its plain listener."""
    return secure_node.address


@pytest.fixture
def token_endpoint() -> Iterator[TokenEndpoint]:
    """Yield out tokens in the name of the node's one user."""
    with TokenEndpoint(
        client_id=USER, client_secret=PASSWORD, subject=USER, life_seconds=TOKEN_LIFE_SECONDS
    ) as endpoint:
        yield endpoint


def start(node: SecureNode, deployment: Deployment, name: str, **changed: str | Path) -> WorkerProcess:
    """Start a worker that comes in by the secure listener, with some of its security settings changed."""
    topics = deployment.settings.topics
    node.allow(topics.prefix)
    options = {
        "brokers": node.secure_address,
        "prefix": topics.prefix,
        "partitions": f"{topics.partitions}",
        "replication": "1",
    }
    environment = {
        **node.environment(**changed),
        "INSESSION_KAFKA__SESSION_TIMEOUT": "8",
        "INSESSION_KAFKA__SEND_TIMEOUT": "6",
    }
    return WorkerProcess(options, environment, deployment.folder / name)


def test_a_worker_answers_and_recovers_over_tls_and_sasl(deploy: Deploy, secure_node: SecureNode) -> None:
    """Consumer, producer, admin client, catalog view and recovery all come in, with certificate and password.

    The broker lets this user touch nothing but what is under the deployment's prefix.
    """
    deployment = deploy(partitions=2)
    deployment.write(Topic.CATALOG, [NewRecord(b"i1", b'{"item_id": "i1"}')])
    deployment.write(Topic.CLICKSTREAM, [click("v"), click("v")])
    with closing(start(secure_node, deployment, "first")) as worker:
        worker.wait_until_ready()
        deployment.wait_until_committed(worker)
        assert worker.end(signal.SIGTERM) == 0
        said = worker.log_text()
    deployment.write(Topic.CLICKSTREAM, [click("v")])
    with closing(start(secure_node, deployment, "nothing-local")) as worker:
        worker.wait_until_ready()
        deployment.wait_until_committed(worker)
        assert worker.end(signal.SIGTERM) == 0
        said += worker.log_text()
    records = deployment.ledger().records(Topic.INTENT_SIGNALS)
    signals = [wire.decode_intent_signal(record.value or b"") for record in records]
    assert list({one.id: one.prefix_length for one in signals}.values()) == [1, 2, 3]
    assert '"items": 1, "event": "catalog_complete"' in said
    assert PASSWORD not in said
    assert KEY_PASSWORD not in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"password": "wrong-geheim"}, "The brokers refused the user: "),
        ({"ca_file": "other-ca.pem"}, "TLS to the brokers failed: "),
    ],
    ids=["wrong-password", "untrusted-certificate"],
)
def test_a_worker_that_may_not_come_in_says_so_and_ends(
    deploy: Deploy, secure_node: SecureNode, changed: dict[str, str], message: str
) -> None:
    """One line that names the setting to look at and exit code 1, within seconds; the password stays out of it."""
    deployment = deploy(partitions=1)
    if "ca_file" in changed:
        changed = {"ca_file": str(secure_node.certificates.other_ca_file)}
    with closing(start(secure_node, deployment, "refused", **changed)) as worker:
        assert worker.wait(SECONDS_TO_GIVE_UP) == 1
        said = worker.log_text()
    (line,) = [line for line in said.splitlines() if line.startswith("insession: ")]
    assert message in line
    assert f"Check kafka.security.{'ca_file' if 'ca_file' in changed else 'username'}" in line
    assert "Traceback" not in said
    assert "geheim" not in said


def start_by_token(
    node: SecureNode, deployment: Deployment, name: str, endpoint: TokenEndpoint, **changed: str
) -> WorkerProcess:
    """Start a worker that comes in by a token."""
    topics = deployment.settings.topics
    node.allow(topics.prefix)
    options = {
        "brokers": node.token_address,
        "prefix": topics.prefix,
        "partitions": f"{topics.partitions}",
        "replication": "1",
    }
    timeouts = {"INSESSION_KAFKA__SESSION_TIMEOUT": "8", "INSESSION_KAFKA__SEND_TIMEOUT": "6"}
    environment = {**node.token_environment(endpoint.url, **changed), **timeouts}
    return WorkerProcess(options, environment, deployment.folder / name)


def test_a_worker_answers_by_token_and_renews_it(
    deploy: Deploy, secure_node: SecureNode, token_endpoint: TokenEndpoint
) -> None:
    """All clients, librdkafka's and aiokafka's, come in by tokens that live for seconds and are fetched again."""
    deployment = deploy(partitions=2)
    deployment.write(Topic.CATALOG, [NewRecord(b"i1", b'{"item_id": "i1"}')])
    deployment.write(Topic.CLICKSTREAM, [click("v"), click("v")])
    with closing(start_by_token(secure_node, deployment, "token", token_endpoint)) as worker:
        worker.wait_until_ready()
        deployment.wait_until_committed(worker)
        token_endpoint.wait_for(token_endpoint.n_given + 1)
        deployment.write(Topic.CLICKSTREAM, [click("v")])
        deployment.wait_until_committed(worker)
        assert worker.end(signal.SIGTERM) == 0
        said = worker.log_text()
    records = deployment.ledger().records(Topic.INTENT_SIGNALS)
    assert sorted({wire.decode_intent_signal(record.value or b"").prefix_length for record in records}) == [1, 2, 3]
    assert '"items": 1, "event": "catalog_complete"' in said
    assert PASSWORD not in said
    assert not any(token in said for token in token_endpoint.given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"oauth__client_secret": "wrong-geheim"}, "Check kafka.security.oauth.client_id"),
        ({"oauth__token_url": "http://127.0.0.1:9/token"}, "Check the address, kafka.security.oauth.token_url"),
    ],
    ids=["wrong-secret", "no-endpoint"],
)
def test_a_worker_without_a_token_says_so_and_ends(
    deploy: Deploy, secure_node: SecureNode, token_endpoint: TokenEndpoint, changed: dict[str, str], message: str
) -> None:
    """One line that names the setting to look at and exit code 1; the secret stays out of it."""
    deployment = deploy(partitions=1)
    with closing(start_by_token(secure_node, deployment, "refused", token_endpoint, **changed)) as worker:
        assert worker.wait(SECONDS_TO_GIVE_UP) == 1
        said = worker.log_text()
    (line,) = [line for line in said.splitlines() if line.startswith("insession: ")]
    assert message in line
    assert "Traceback" not in said
    assert "geheim" not in said


def test_a_refused_token_is_told_with_what_to_look_at(secure_node: SecureNode) -> None:
    """A token that the brokers do not take is no lack of an answer."""
    runner = CliRunner()
    with TokenEndpoint(USER, PASSWORD, subject=USER, life_seconds=-60) as expired:
        environment = secure_node.token_environment(expired.url)
        options = ["--brokers", secure_node.token_address, "--prefix", "secure-", "--partitions", "1"]
        refused = runner.invoke(insession, ["topics", "check", *options, "--replication", "1"], env=environment)
    assert isinstance(refused.exception, TopicsError)
    assert "kafka.security.oauth" in str(refused.exception)


def test_the_commands_come_in_with_the_same_settings(secure_node: SecureNode) -> None:
    """All commands on a cluster read TLS and SASL as a worker does; who may not is refused in plain words."""
    connection = ["--brokers", secure_node.secure_address, "--prefix", "secure-"]
    options = [*connection, "--replication", "1", "--partitions", "1"]
    runner = CliRunner()
    elsewhere = runner.invoke(insession, ["topics", "create", *options], env=secure_node.environment())
    assert "Could not create topic secure-clickstream: Authorization failed" in str(elsewhere.exception)
    secure_node.allow("secure-")
    assert runner.invoke(insession, ["topics", "create", *options], env=secure_node.environment()).exit_code == 0
    assert runner.invoke(insession, ["topics", "check", *options], env=secure_node.environment()).exit_code == 0
    assert runner.invoke(insession, ["dlq", "list", *connection], env=secure_node.environment()).exit_code == 0
    hidden = ["dlq", "list", *connection[:2], "--prefix", "foreign-"]
    assert "hide topic foreign-" in str(runner.invoke(insession, hidden, env=secure_node.environment()).exception)
    wrong = secure_node.environment(username="nobody")
    for command in (
        ["topics", "create", *options],
        ["topics", "check", *options],
        ["dlq", "list", *connection],
        ["rekey", "shop", *connection],
        ["simulate", *connection],
        ["doctor", "--sample", "shop", *connection],
    ):
        refused = runner.invoke(insession, command, env=wrong)
        assert isinstance(refused.exception, TopicsError)
        assert "The brokers refused the user" in str(refused.exception)
