"""What the stack mounts into services that are not ours: in their formats, and equal to the settings."""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from serving.embedded.options import ServerOptions
from serving.embedded.policies import LatestVersions
from tests import command_lines
from tests.compose.stack import Stack

STACK = Stack()
WORKERS = STACK.workers


def test_the_model_server_serves_what_the_workers_ask_for() -> None:
    """models.config is a ModelServerConfig: name and path of the settings, and all that is fetched."""
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(STACK.file_at("serving", flag("--model_config_file")).read_text(), config)
    (model,) = config.model_config_list.config
    serving = WORKERS[0].settings.serving
    assert model.name == serving.model_name
    assert model.base_path == str(serving.models_directory / serving.model_name)
    assert model.model_version_policy.WhichOneof("policy_choice") == "all"
    embedded = ServerOptions(models=Path()).policy
    assert isinstance(embedded, LatestVersions)
    kept = command_lines.parse(STACK.services["fetch"].command).params["keep"]
    assert kept == embedded.num_versions, "before a first promotion both have as many loaded"
    assert f"/v1/models/{serving.model_name} " in " ".join(STACK.services["serving"].spec["healthcheck"]["test"])


def test_the_model_server_shows_its_metrics() -> None:
    """monitoring.config is a MonitoringConfig that turns Prometheus on, at the path that Prometheus scrapes."""
    config = monitoring_config()
    text_format.Parse(STACK.file_at("serving", flag("--monitoring_config_file")).read_text(), config)
    assert config.prometheus_config.enable
    paths = {job.get("metrics_path", "/metrics") for job in scrapes() if is_scraped(job, "serving")}
    assert paths == {config.prometheus_config.path}


def test_prometheus_scrapes_the_services_of_the_stack() -> None:
    """Every target is a service and a port on which it listens, and no worker is left out."""
    targets = {target for job in scrapes() for config in job["static_configs"] for target in config["targets"]}
    inside = {f"{service.name}:{port}" for service in STACK.services.values() for _, _, port in service.ports}
    assert targets <= inside
    assert targets >= {f"{worker.name}:{worker.settings.kafka.web_port}" for worker in WORKERS}
    assert f"pipeline:{STACK.services['pipeline'].settings.pipeline.web_port}" in targets


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    """The provisioning names the folder where the dashboards are mounted, and the service that has the data."""
    provisioning = STACK.file_at("grafana", "/etc/grafana/provisioning")
    providers = documents(provisioning / "dashboards", "providers")
    for provider in providers:
        assert STACK.file_at("grafana", provider["options"]["path"]).is_dir()
    sources = documents(provisioning / "datasources", "datasources")
    assert providers
    assert {source["url"] for source in sources} == {"http://prometheus:9090"}


def flag(name: str) -> str:
    """Find the value of a flag of the model server."""
    return next(word.removeprefix(f"{name}=") for word in STACK.services["serving"].command if word.startswith(name))


def scrapes() -> list[dict[str, Any]]:
    """Read what Prometheus scrapes."""
    config = STACK.file_at("prometheus", "/etc/prometheus/prometheus.yml")
    return list(yaml.safe_load(config.read_text())["scrape_configs"])


def is_scraped(job: dict[str, Any], service: str) -> bool:
    """Return whether a job has a target on that service."""
    return any(target.startswith(f"{service}:") for config in job["static_configs"] for target in config["targets"])


def documents(folder: Path, key: str) -> list[dict[str, Any]]:
    """Read the entries under `key` of all YAML files in `folder`."""
    files = [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.y*ml"))]
    return [entry for file in files for entry in file[key]]


def monitoring_config() -> Any:
    """Make an empty MonitoringConfig; its proto (config/monitoring_config.proto) is in no package, so here it is."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="monitoring_config.proto", syntax="proto3")
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    file.message_type.add(name="MonitoringConfig").field.add(
        name="prometheus_config",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name="PrometheusConfig",
        label=field.LABEL_OPTIONAL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("MonitoringConfig"))()
