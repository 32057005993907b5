"""The Kubernetes manifests match the image and the code, and restrict every pod."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from housepredict.entrypoints.cli.main import parser
from housepredict.entrypoints.http.routes.route_table import ROUTES
from housepredict.entrypoints.http.server.server import _GRACE_S
from housepredict.entrypoints.settings import Settings, read_settings, variables

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kubernetes"
DOCKERFILE = (ROOT / "container" / "Dockerfile").read_text(encoding="utf-8")
SECRETS = {"token": "0123456789abcdef", "database-password": "secret", "database-url": "postgresql://db/houses"}
MOUNTED = "/run/secrets/housepredict/"


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(FOLDER)), document


# Some kustomize configuration files have no kind.
DOCUMENTS = [(path, document) for path, document in documents() if "kind" in document]


def pod_spec(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the pod spec that an object contains, if any."""
    spec = document.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod: dict[str, Any] | None = spec.get("template", {}).get("spec", spec if "containers" in spec else None)
    return pod


PODS = {f"{path}:{each['kind']}": pod for path, each in DOCUMENTS if (pod := pod_spec(each))}
HOUSEPREDICT_PODS = {name: pod for name, pod in PODS.items() if "Deployment" in name or "CronJob" in name}
SERVICE = PODS["base/deployment.yaml:Deployment"]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(*folders: str) -> dict[str, str]:
    """Merge the variables that the kustomizations of these folders set. Later folders take precedence."""
    variables_set: dict[str, str] = {}
    for folder in folders:
        kustomization = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text(encoding="utf-8"))
        for generator in kustomization.get("configMapGenerator", []):
            variables_set |= dict(literal.split("=", 1) for literal in generator["literals"])
    return variables_set


ENVIRONMENTS = {
    "development": environment("base", "components/postgres", "overlays/development"),
    "production": environment("base", "overlays/production"),
}


def overlay_settings(overlay: str, secrets: Path, **more: str) -> Settings:
    for name, secret in SECRETS.items():
        (secrets / name).write_text(secret, encoding="utf-8")
    there = {name: value.replace(MOUNTED, f"{secrets}/") for name, value in ENVIRONMENTS[overlay].items()}
    return read_settings(there | more)


def test_expected_pods_are_found() -> None:
    assert set(HOUSEPREDICT_PODS) == {"base/deployment.yaml:Deployment", "base/training.yaml:CronJob"}
    assert "components/postgres/postgres.yaml:StatefulSet" in PODS


@pytest.mark.parametrize("overlay", ENVIRONMENTS)
def test_variables_setvariables_are_valid_settings(overlay: str, tmp_path: Path) -> None:
    assert set(ENVIRONMENTS[overlay]) <= set(variables())
    settings = overlay_settings(overlay, tmp_path)
    assert (settings.host, settings.token) == ("0.0.0.0", SECRETS["token"])
    expected = {
        "development": "postgresql://housepredict:secret@postgres:5432/mldata",
        "production": SECRETS["database-url"],
    }
    assert settings.database_url == expected[overlay]
    assert settings.demo is (overlay == "development")


@pytest.mark.parametrize("overlay", ENVIRONMENTS)
def test_kubernetes_service_variables_are_ignored(overlay: str, tmp_path: Path) -> None:
    links: dict[str, str] = {}
    for _, document in DOCUMENTS:
        if document["kind"] == "Service":
            name, port = document["metadata"]["name"].upper(), document["spec"]["ports"][0]["port"]
            links |= {
                f"{name}_SERVICE_HOST": "10.0.0.1",
                f"{name}_SERVICE_PORT": str(port),
                f"{name}_SERVICE_PORT_{document['spec']['ports'][0]['name'].upper()}": str(port),
                f"{name}_PORT": f"tcp://10.0.0.1:{port}",
                f"{name}_PORT_{port}_TCP": f"tcp://10.0.0.1:{port}",
                f"{name}_PORT_{port}_TCP_PROTO": "tcp",
                f"{name}_PORT_{port}_TCP_PORT": str(port),
                f"{name}_PORT_{port}_TCP_ADDR": "10.0.0.1",
            }
    assert "HOUSEPREDICT_PORT" in links
    assert overlay_settings(overlay, tmp_path, **links) == overlay_settings(overlay, tmp_path)


def test_secrets_read_are_mounted() -> None:
    read = {
        value.removeprefix(MOUNTED)
        for each in ENVIRONMENTS.values()
        for value in each.values()
        if value.startswith(MOUNTED)
    }
    assert read == set(SECRETS)
    for pod in HOUSEPREDICT_PODS.values():
        (volume,) = (each for each in pod["volumes"] if "secret" in each)
        for each in containers(pod):
            assert {"name": volume["name"], "mountPath": MOUNTED.rstrip("/"), "readOnly": True} in each["volumeMounts"]


def test_manifests_contain_no_secret() -> None:
    assert [path for path, document in DOCUMENTS if document["kind"] == "Secret"] == []
    secret = re.compile(r"(PASSWORD|TOKEN|KEY|DATABASE_URL)$")
    for path, pod in PODS.items():
        for each in containers(pod):
            assert not [name for name in each.get("env", []) if secret.search(name["name"])], path
    assert not [name for each in ENVIRONMENTS.values() for name in each if secret.search(name)]


@pytest.mark.parametrize("name", HOUSEPREDICT_PODS)
def test_users_folders_and_commands_match_image(name: str) -> None:
    pod = HOUSEPREDICT_PODS[name]
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user
    assert [pod["securityContext"][each] for each in ("runAsUser", "runAsGroup")] == [
        int(each) for each in user.groups()
    ]
    assert 'ENTRYPOINT ["housepredict"]' in DOCKERFILE
    for each in containers(pod):
        parser().parse_args(each["args"])  # exits on invalid arguments
        folder = ENVIRONMENTS["production"]["HOUSEPREDICT_DATA_DIR"]
        assert f"HOUSEPREDICT_DATA_DIR={folder}" in DOCKERFILE
        assert {folder, "/tmp"} <= {mount["mountPath"] for mount in each["volumeMounts"]}
        assert each["image"] == "housepredict:service"
    assert " AS service\n" in DOCKERFILE


def test_ports_match_service() -> None:
    (port,) = SERVICE["containers"][0]["ports"]
    assert port["containerPort"] == Settings.__attrs_attrs__.port.default == 5000
    assert f"EXPOSE {port['containerPort']}" in DOCKERFILE
    services = [
        each for _, each in DOCUMENTS if each["kind"] == "Service" and each["metadata"]["name"] == "housepredict"
    ]
    assert [(each["port"], each["targetPort"]) for each in services[0]["spec"]["ports"]] == [(80, port["name"])]
    production = (FOLDER / "overlays/production/kustomization.yaml").read_text(encoding="utf-8")
    assert f'prometheus.io/port: "{port["containerPort"]}"' in production


def test_probe_and_prometheus_routes_exist() -> None:
    routes = {route.path for route in ROUTES}
    probes = {
        name: SERVICE["containers"][0][name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    production = (FOLDER / "overlays/production/kustomization.yaml").read_text(encoding="utf-8")
    assert {"/health/live", "/health/ready", *re.findall(r"prometheus\.io/path: (\S+)", production)} <= routes
    assert "prometheus.io/path" in production


def test_grace_period_covers_drain() -> None:
    before = float(SERVICE["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = float(ENVIRONMENTS["production"]["HOUSEPREDICT_DRAIN"])
    readiness = SERVICE["containers"][0]["readinessProbe"]
    assert before + drain + _GRACE_S + 10 <= SERVICE["terminationGracePeriodSeconds"]
    assert drain > readiness["periodSeconds"] * readiness.get("failureThreshold", 3)


@pytest.mark.parametrize("name", PODS)
def test_pods_meet_restricted_security_standard(name: str) -> None:
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(pod):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(each["resources"]["requests"])
        assert "memory" in each["resources"]["limits"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_rolling_update_keeps_all_replicas_available() -> None:
    (deployment,) = (each for _, each in DOCUMENTS if each["kind"] == "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert deployment["spec"]["replicas"] == 2


def test_selectors_match_their_pods() -> None:
    shared = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text(encoding="utf-8"))["labels"][0]["pairs"]
    (deployment,) = (each for _, each in DOCUMENTS if each["kind"] == "Deployment")
    labels = shared | deployment["spec"]["template"]["metadata"]["labels"]
    services = [
        each for _, each in DOCUMENTS if each["kind"] == "Service" and each["metadata"]["name"] == "housepredict"
    ]
    for selector in (deployment["spec"]["selector"]["matchLabels"], services[0]["spec"]["selector"]):
        assert selector.items() <= labels.items()
    (training,) = (each for _, each in DOCUMENTS if each["kind"] == "CronJob")
    others = shared | training["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert not services[0]["spec"]["selector"].items() <= others.items(), "a training gets requests"
