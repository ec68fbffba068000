"""sourceOptions and localSettings: files that reach the agent as they are, their secrets beside, without restart."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oase_agent.workspace.local_settings import LocalSettingsFile
from oase_agent.yaml_file import parse_yaml
from tests.chart.chart_files import CHART
from tests.chart.engine import Releases, render
from tests.chart.kubernetes_api import Cluster
from tests.chart.manifests import Manifest, Manifests
from tests.chart.release_stage import BOTH_MODES, RELEASE, Mode, deployment, installed
from tests.chart.sample_values import Values, agent, env, values

NAME = "ita-ag-oase-oase-agent"
OPTIONS = {"version": 1, "defaults": {"max_bytes": 67108864, "timeout_s": 0.5}}
SETTINGS = {"settings": [{"EVENT_COLLECTION_SETTINGS_NAME": "local", "TTL": 3600}]}

# What YAML has and JSON has; keys and texts may be anything that YAML allows as it is, or JSON escapes.
TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn"])
    | st.sampled_from("\0\t\n\x1f'\"{}%&*!|>@`#:-?[],\\"),
    max_size=20,
)
DOCUMENTS = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def rendered(**changes: Any) -> Manifests:
    return render(CHART, values(agent(**changes))).manifests


def pod_of(manifests: Manifests) -> Manifest:
    spec: Manifest = manifests.one("Deployment")["spec"]["template"]["spec"]
    return spec


def sources_of(manifests: Manifests, use: str) -> list[Manifest]:
    (volume,) = [found for found in pod_of(manifests)["volumes"] if found["name"].endswith(f"-{use}")]
    found: list[Manifest] = volume["projected"]["sources"]
    return found


def variables(manifests: Manifests) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod_of(manifests)["containers"][0]["env"]}


def test_an_agent_is_told_where_its_files_are() -> None:
    manifests = rendered(
        sourceOptions={"inline": OPTIONS}, localSettings={"inline": SETTINGS, "mode": "only"}
    )
    found = variables(manifests)
    assert found["SOURCE_OPTIONS_FILE"] == "/etc/oase-agent/source-options/source-options.yaml"
    assert found["SETTINGS_FILE"] == "/etc/oase-agent/settings/settings.yaml"
    assert found["SETTINGS_FILE_MODE"] == "only"
    mounts = {mount["mountPath"]: mount for mount in pod_of(manifests)["containers"][0]["volumeMounts"]}
    for folder in ("/etc/oase-agent/source-options", "/etc/oase-agent/settings"):
        # Kubernetes never renews what is mounted by subPath.
        assert "subPath" not in mounts[folder]
        assert mounts[folder]["readOnly"] is True


def test_without_files_an_agent_is_told_of_none() -> None:
    manifests = rendered()
    assert not variables(manifests).keys() & {"SOURCE_OPTIONS_FILE", "SETTINGS_FILE", "SETTINGS_FILE_MODE"}
    assert len(manifests.all("ConfigMap")) == 1


def test_numbers_of_a_map_stay_numbers_that_the_agent_reads() -> None:
    text = rendered(sourceOptions={"inline": OPTIONS})["ConfigMap", f"source-options-{NAME}"]["data"]
    read = parse_yaml(text["source-options.yaml"].encode()).content
    # As JSON, because to Python 67108864.0 is 67108864, and to the agent it is no whole number.
    assert json.dumps(read, sort_keys=True) == json.dumps(OPTIONS, sort_keys=True)


@settings(max_examples=40, deadline=None)
@given(document=DOCUMENTS)
def test_any_map_arrives_as_it_is(document: dict[str, Any]) -> None:
    manifests = rendered(sourceOptions={"inline": {"version": 1, "x": document}})
    text = manifests["ConfigMap", f"source-options-{NAME}"]["data"]["source-options.yaml"]
    assert parse_yaml(text.encode()).content == {"version": 1, "x": document}


@pytest.mark.parametrize(
    "text", ["# note\nsettings: []\n", "settings: [{A: no, B: 0123}]", "{{ x }}: '\t\u2028'\n"]
)
def test_a_text_arrives_exact(text: str) -> None:
    manifests = rendered(localSettings={"inline": text})
    assert manifests["ConfigMap", f"settings-{NAME}"]["data"] == {"settings.yaml": text}


def test_secrets_are_beside_the_file_that_names_them() -> None:
    chosen = {"name": "one", "files": {"secrets/api-key": "key", "tls/ca.pem": "ca"}}
    manifests = rendered(sourceOptions={"inline": OPTIONS, "secretFiles": ["all", chosen]})
    items = [{"key": "key", "path": "secrets/api-key"}, {"key": "ca", "path": "tls/ca.pem"}]
    assert sources_of(manifests, "sources") == [
        {"secret": {"name": "all"}},
        {"secret": {"name": "one", "items": items}},
        {"configMap": {"name": f"source-options-{NAME}"}},
    ]


def test_a_config_map_that_is_there_is_used_with_the_file_that_is_named() -> None:
    local = {
        "existingConfigMap": {"name": "{{ .Release.Name }}-mine", "key": "mine.yaml"},
        "secretFiles": "s",
    }
    manifests = rendered(localSettings=local)
    assert sources_of(manifests, "local") == [
        {"secret": {"name": "s"}},
        {"configMap": {"name": "exastro-agent-mine"}},
    ]
    assert variables(manifests)["SETTINGS_FILE"] == "/etc/oase-agent/settings/mine.yaml"
    assert len(manifests.all("ConfigMap")) == 1


def test_agents_of_a_pod_have_files_of_their_own() -> None:
    two = [agent(name, sourceOptions={"inline": OPTIONS}) for name in ("a", "b")]
    manifests = render(CHART, values(*two)).manifests
    mounted = [
        [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"].startswith("/etc/")]
        for container in pod_of(manifests)["containers"]
    ]
    assert mounted == [["volume-ita-ag-oase-a-sources"], ["volume-ita-ag-oase-b-sources"]]


def test_the_file_of_all_agents_is_completed_by_that_of_one() -> None:
    own = agent(sourceOptions={"inline": {"sources": {"lab": {"insecure": True}}}})
    given = values(own, agentDefaults={"sourceOptions": {"inline": OPTIONS}})
    text = render(CHART, given).manifests["ConfigMap", f"source-options-{NAME}"]["data"][
        "source-options.yaml"
    ]
    assert parse_yaml(text.encode()).content == {**OPTIONS, "sources": {"lab": {"insecure": True}}}


CHANGES: dict[str, tuple[Values, Values]] = {
    "options": ({"sourceOptions": {"inline": OPTIONS}}, {"sourceOptions": {"inline": {"version": 1}}}),
    "settings": ({"localSettings": {"inline": SETTINGS}}, {"localSettings": {"inline": "settings: []\n"}}),
}


@BOTH_MODES
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_file_starts_no_pod_anew(
    cluster: Cluster, releases: Releases, mode: Mode, change: str
) -> None:
    before, after = CHANGES[change]
    installed(cluster, releases, CHART, mode, values(agent(**before)))
    pod, maps = deployment(cluster)["spec"], cluster.objects("configmaps")
    releases.upgrade(CHART, RELEASE, values(agent(**after)))
    assert deployment(cluster)["spec"] == pod
    assert cluster.objects("configmaps").keys() == maps.keys()
    assert cluster.objects("configmaps") != maps


@BOTH_MODES
def test_another_config_map_starts_the_pod_anew(cluster: Cluster, releases: Releases, mode: Mode) -> None:
    installed(cluster, releases, CHART, mode, values(agent(sourceOptions={"existingConfigMap": "one"})))
    pod = deployment(cluster)["spec"]["template"]
    releases.upgrade(CHART, RELEASE, values(agent(sourceOptions={"existingConfigMap": "two"})))
    assert deployment(cluster)["spec"]["template"] != pod


def test_names_of_settings_are_not_needed_where_the_file_has_them_all() -> None:
    options = env(EVENT_COLLECTION_SETTINGS_NAMES=None)
    assert rendered(extraEnv=options, localSettings={"inline": SETTINGS, "mode": "only"})
    assert rendered(extraEnv={**options, "SETTINGS_FILE": "/mine", "SETTINGS_FILE_MODE": "only"})


@pytest.mark.parametrize("is_text", [True, False])
def test_a_secret_in_a_config_map_is_told_of_without_its_text(is_text: bool) -> None:
    secret = "nobody-may-read-this"
    row = {"EVENT_COLLECTION_SETTINGS_NAME": "local", "PASSWORD": secret, "AUTH_TOKEN": ""}
    inline: Any = f"settings: [{{PASSWORD: {secret}}}]" if is_text else {"settings": [row]}
    notes = render(CHART, values(agent(localSettings={"inline": inline}))).notes
    assert "settings[0].PASSWORD" in notes
    assert "AUTH_TOKEN" not in notes
    assert secret not in notes


def test_an_agent_reads_the_settings_with_their_secrets_from_the_folder(tmp_path: Path) -> None:
    row = {
        "EVENT_COLLECTION_SETTINGS_NAME": "local",
        "CONNECTION_METHOD_ID": 1,
        "REQUEST_METHOD_ID": 1,
        "URL": "https://source.example/",
        "AUTH_TOKEN_FILE": "token",
    }
    manifests = rendered(localSettings={"inline": {"settings": [row]}, "secretFiles": ["mine"]})
    secret = {"token": base64.b64encode(b"from-the-secret").decode()}
    for source in sources_of(manifests, "local"):
        if "secret" in source:
            files = {name: base64.b64decode(text).decode() for name, text in secret.items()}
        else:
            files = manifests["ConfigMap", source["configMap"]["name"]]["data"]
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
    file = LocalSettingsFile(tmp_path / Path(variables(manifests)["SETTINGS_FILE"]).name)
    assert file.refresh()
    assert file.settings.names == ("local",)
    assert not file.settings.inline
