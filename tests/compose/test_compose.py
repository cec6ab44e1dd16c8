"""No container engine is needed: what compose/ says is held equal to what the code says."""

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from agents.demo.source import ShopOptions
from agents.settings import DEMO_SECRET, Settings
from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.upkeep.simulation import shop_for
from schemas.bus import FolderUrl, parse_bus_url
from serving.embedded.options import ServerOptions
from streams.cluster.topics import Topic
from streams.local.kafka_jars import POM
from tests import command_lines
from tests.compose.prometheus import CONFIG
from tests.compose.stack import COMPOSE_FILE, FOLDER, SECRETS, Service, Stack, interpolated, variables_of

COMPOSE_GO = "github.com/compose-spec/compose-go/v2@v2.16.2"
STACK = Stack()
SERVICES = list(STACK.services.values())
OURS = STACK.ours
WORKERS = STACK.workers
AWS_VARIABLES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"}


def named(service: Service) -> str:
    """Return a service in the test's id."""
    return service.name


@pytest.fixture(scope="module")
def compose_schema() -> Any:
    """Fetch the Compose Specification's own schema, from the reference implementation."""
    go = shutil.which("go")
    if go is None:
        assert not os.environ.get("INSESSION_REQUIRE_TOOLS"), "go is missing; on Debian: apt-get install golang-go"
        pytest.skip("the schema comes as a Go module, and there is no go")
    run = subprocess.run([go, "mod", "download", "-json", COMPOSE_GO], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(Path(json.loads(run.stdout)["Dir"], "schema", "compose-spec.json").read_text())


def test_the_file_follows_the_compose_specification(compose_schema: Any) -> None:
    """The Compose Specification's schema accepts the file, with its variables put in and as it is written."""
    validator = jsonschema.Draft202012Validator(compose_schema)
    for document in (STACK.document, yaml.safe_load(COMPOSE_FILE.read_text())):
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)] == []


def test_what_services_refer_to_exists() -> None:
    """Every service that is waited for, and every named volume, is defined; no volume is left over."""
    waited_for = {name for service in SERVICES for name in service.spec.get("depends_on", {})}
    assert waited_for <= set(STACK.services)
    mounted = {mount.source for service in SERVICES for mount in service.mounts if "/" not in mount.source}
    assert mounted == set(STACK.document["volumes"])


def test_secrets_have_no_default() -> None:
    """Without a password for Grafana, a token for the live page or a secret for pseudonyms, nothing starts."""
    for name in SECRETS:
        with pytest.raises(KeyError, match=name):
            Stack({key: value for key, value in SECRETS.items() if key != name})


def test_every_variable_is_told_of_in_the_quickstart() -> None:
    """Each variable that compose.yaml takes from outside is in docs/quickstart.md."""
    told = (FOLDER.parent / "docs" / "quickstart.md").read_text()
    assert {name for name in variables_of(COMPOSE_FILE.read_text()) if name not in told} == set()


@pytest.mark.parametrize("service", SERVICES, ids=named)
def test_images_are_pinned(service: Service) -> None:
    """Every image from outside has a full version as its tag; our own are built here."""
    image, _, tag = service.spec["image"].partition(":")
    if service in OURS:
        assert tag == "local"
        assert image.startswith("insession")
    else:
        assert re.fullmatch(r"v?\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?", tag), service.spec["image"]


@pytest.mark.parametrize("service", SERVICES, ids=named)
def test_services_are_bounded(service: Service) -> None:
    """Every service has a limit of memory and of processors."""
    assert {"cpus", "memory"} <= set(service.spec["deploy"]["resources"]["limits"])


def test_ports_are_published_on_loopback_only() -> None:
    """No port is open to the network, and no two services ask for the same one."""
    published = [port for service in SERVICES for port in service.ports]
    assert {host for host, _, _ in published} == {"127.0.0.1"}
    assert len({port for _, port, _ in published}) == len(published)


@pytest.mark.parametrize("service", SERVICES, ids=named)
def test_mounted_paths_exist(service: Service) -> None:
    """What is mounted from the host is in the repository; what one trains on is the operator's to bring."""
    paths = [mount.source for mount in service.mounts if "/" in mount.source and service.name != "train"]
    assert [path for path in paths if not (FOLDER / path).exists()] == []


@pytest.mark.parametrize("service", OURS, ids=named)
def test_our_services_get_settings_that_the_code_accepts(service: Service) -> None:
    """Every INSESSION_ variable is a setting with a value that converts, and points at the services of the stack."""
    settings = service.settings
    internal = listeners("KAFKA_ADVERTISED_LISTENERS")["INTERNAL"]
    assert settings.kafka.brokers == internal
    host, _, port = settings.serving.address.partition(":")
    assert (host, int(port)) == ("serving", ServerOptions(models=Path()).port)
    assert settings.clickstream.pseudonym_secret != DEMO_SECRET
    assert settings.topics.replication == 1
    assert settings.topics == STACK.services["topics"].settings.topics, "a worker refuses topics of another layout"


@pytest.mark.parametrize("service", OURS, ids=named)
def test_our_services_may_do_little(service: Service) -> None:
    """Our containers have no capabilities, gain none, and write to nothing but their volumes and /tmp."""
    assert service.spec["cap_drop"] == ["ALL"]
    assert service.spec["security_opt"] == ["no-new-privileges:true"]
    assert service.spec["read_only"] is True
    assert service.spec["tmpfs"] == ["/tmp"]  # noqa: S108 - a path of the container


@pytest.mark.parametrize("service", OURS, ids=named)
def test_our_commands_exist(service: Service) -> None:
    """Every command is one that `insession` takes, with these very options."""
    assert command_lines.parse(service.command or ["worker"]).command.callback is not None


def test_there_are_two_workers_that_share_nothing() -> None:
    """Two workers by default, each with a name and a state of its own, each a standby of the other."""
    assert len(WORKERS) == 2
    told = [worker.settings.kafka for worker in WORKERS]
    assert [kafka.instance_id for kafka in told] == [worker.name for worker in WORKERS]
    assert {kafka.standby_replicas for kafka in told} == {len(WORKERS) - 1}
    states = [worker.mount_at(str(kafka.datadir)) for worker, kafka in zip(WORKERS, told, strict=True)]
    assert len({state.source for state in states}) == len(WORKERS)
    assert not any(state.read_only for state in states)


@pytest.mark.parametrize("worker", WORKERS, ids=named)
def test_a_worker_is_reachable_inside_and_on_loopback(worker: Service) -> None:
    """The web port of the settings is the one that is published, and the server listens where that can reach it."""
    settings = worker.settings
    assert [inside for _, _, inside in worker.ports] == [settings.kafka.web_port]
    assert settings.kafka.web_host == "0.0.0.0"  # noqa: S104 - of the container


def test_one_observer_counts_what_the_workers_answer() -> None:
    """It reads as they write, and Prometheus reads it where it listens."""
    (observer,) = [service for service in OURS if service.command[:1] == ["observer"]]
    settings, workers = observer.settings, WORKERS[0].settings
    assert (settings.topics, settings.outputs, settings.locations) == (
        workers.topics,
        workers.outputs,
        workers.locations,
    )
    assert (settings.catalog, settings.clickstream) == (workers.catalog, workers.clickstream)
    assert [inside for _, _, inside in observer.ports] == [settings.trending.web_port]
    assert settings.trending.web_host == "0.0.0.0"  # noqa: S104 - of the container
    jobs = {job["job_name"]: job for job in yaml.safe_load(CONFIG.read_text())["scrape_configs"]}
    (static,) = jobs["insession-observer"]["static_configs"]
    assert static["targets"] == [f"{observer.name}:{settings.trending.web_port}"]


@pytest.mark.parametrize("worker", WORKERS, ids=named)
def test_a_worker_has_the_time_to_stop_in_order(worker: Service) -> None:
    """An engine waits longer before it kills than the answers and acknowledgements under way may take."""
    settings = worker.settings
    patience = timedelta(seconds=int(worker.spec["stop_grace_period"].removesuffix("s")))
    assert patience > settings.kafka.send_timeout + settings.clickstream.freshness_budget


def test_the_models_are_where_worker_and_server_look() -> None:
    """Both mount one folder read-only at one path; what fetches releases alone writes to it."""
    serving = STACK.services["serving"]
    for worker in WORKERS:
        models = worker.mount_at(str(worker.settings.serving.models_directory))
        assert models.read_only
        assert models == serving.mount_at(models.target)
    fetcher = STACK.services["fetch"]
    into = fetcher.mount_at(str(params_of(fetcher)["models"]))
    assert (into.source, into.read_only) == (models.source, False)
    writers = [service.name for service in SERVICES for mount in service.mounts if mount == into]
    assert writers == ["fetch"]


def test_releases_go_from_training_to_serving_by_one_bus() -> None:
    """What trains writes to the folder that is fetched from, follows the rollout, and where the guard steps back."""
    trainer, fetcher, guard = (STACK.services[name] for name in ("train", "fetch", "guard"))
    fetched = params_of(fetcher)
    assert fetched["is_following"]
    bus = parse_bus_url(fetched["source"])
    assert isinstance(bus, FolderUrl)
    assert bus == parse_bus_url(params_of(guard)["models"]) == FolderUrl(Path(params_of(trainer)["models_dir"]))
    at = [service.mount_at(str(bus.path)) for service in (trainer, fetcher, guard)]
    assert len({mount.source for mount in at}) == 1
    assert [mount.read_only for mount in at] == [False, True, False]
    assert len({service.spec["user"] for service in (trainer, fetcher, guard)}) == 1
    names = {params_of(service)["model_name"] for service in (fetcher, guard)}
    assert names == {worker.settings.serving.model_name for worker in WORKERS}


def test_fetcher_and_guard_take_another_bus_from_outside() -> None:
    """One variable moves both to S3, and both have what opens it."""
    moved = Stack({**SECRETS, "BUS": "s3://shop/releases"}).services
    urls = {str(params_of(moved["fetch"])["source"]), str(params_of(moved["guard"])["models"])}
    assert urls == {"s3://shop/releases"}
    for name in ("fetch", "guard"):
        assert {variable for variable in moved[name].environment if variable.startswith("AWS_")} == AWS_VARIABLES
        assert moved[name].spec["build"]["target"] == "trainer", "the worker's image has no client of a Bus"


def test_what_the_demo_has_trained_on_is_what_is_simulated() -> None:
    """A release from the demo's training data knows the items of the simulated shoppers."""
    told = params_of(STACK.services["simulate"])
    simulated = shop_for(told["rate"], told["seed"], told["items"])
    trained = ShopOptions().settings
    assert items_of(simulated) == items_of(trained)


def test_kafka_is_the_version_of_the_tests() -> None:
    """The image is the release whose jars the tests run."""
    version = ET.parse(POM).getroot().findtext(".//{*}kafka.version")  # noqa: S314 - our own file
    assert STACK.services["kafka"].spec["image"] == f"apache/kafka:{version}"


def test_kafka_is_reachable_inside_and_on_loopback() -> None:
    """Each listener is advertised at an address that its clients can reach."""
    bound, advertised = listeners("KAFKA_LISTENERS"), listeners("KAFKA_ADVERTISED_LISTENERS")
    ((host, published, inside),) = STACK.services["kafka"].ports
    assert bound["EXTERNAL"] == f":{inside}"
    assert advertised["EXTERNAL"] == f"{host}:{published}" == Settings().kafka.brokers
    assert advertised["INTERNAL"] == f"{STACK.services['kafka'].spec['hostname']}{bound['INTERNAL']}"


def test_interpolation_is_composes() -> None:
    """A default counts where a variable is not given; one without default must be."""
    assert interpolated("${A:-b} ${C} ${D:?why}", {"C": "c", "D": "d"}) == "b c d"
    with pytest.raises(KeyError, match="D"):
        interpolated("${D:?why}", {})


def params_of(service: Service) -> dict[str, Any]:
    """Read a service's command."""
    return command_lines.parse(service.command).params


def listeners(variable: str) -> dict[str, str]:
    """Split a list of listeners into address by name."""
    return dict(listener.split("://") for listener in STACK.services["kafka"].environment[variable].split(","))


def items_of(shop: ShopSettings) -> dict[str, str | None]:
    """Return the titles of a shop's items."""
    return {item.item_id: item.title for item in catalog(shop, shop.start)}


def test_the_daily_loop_publishes_where_the_fetcher_reads() -> None:
    """Its work survives a restart, in a volume of its own; its clicks are those of the stack; its page is reachable."""
    service = STACK.services["pipeline"]
    pipeline = service.settings.pipeline
    assert [inside for _, _, inside in service.ports] == [pipeline.web_port]
    assert pipeline.web_host == "0.0.0.0"  # noqa: S104 - of the container
    assert not service.mount_at(str(pipeline.work)).read_only
    assert pipeline.models == "file:/releases"
    published, fetched = service.mount_at("/releases"), STACK.services["fetch"].mount_at("/releases")
    assert (published.source, published.read_only) == (fetched.source, False)
    assert (
        pipeline.source == f"kafka://{service.settings.kafka.brokers}/{service.settings.topics.name(Topic.CLICKSTREAM)}"
    )
    assert service.spec["user"].partition(":")[0] in {"1000", "10001"}, "its image knows no other by name"
    assert any(conf.startswith(f"spark.local.dir={pipeline.work}") for conf in pipeline.spark_conf)
