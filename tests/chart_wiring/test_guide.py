"""The user guide for Kubernetes names what there is, and has the commands that users know."""

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.chart_wiring.guide import GUIDE, commands, files, guide_text, is_value, messages, value_paths
from tests.chart_wiring.layouts import EXAMPLES, ROOT, layouts

# Of the user document of the chart 2.7; only the address of the repository differs.
KNOWN_COMMANDS = [
    "helm repo update",
    "helm show values exastro/exastro-agent > exastro-agent.yaml",
    "kubectl apply -f pv-ita-ag-oase.yaml",
    "kubectl get pv",
    "helm install exastro-agent exastro/exastro-agent \\\n"
    "--namespace exastro --create-namespace \\\n"
    "--values exastro-agent.yaml",
    "kubectl get po --namespace exastro",
    "helm search repo exastro",
    "RS_AG=`kubectl get deploy ita-ag-oase -o jsonpath='{@.spec.replicas}{\"\\n\"}' --namespace exastro`",
    "kubectl scale deployment ita-ag-oase --namespace exastro --replicas=0",
    "kubectl get deployment --namespace exastro",
    "helm upgrade exastro-agent exastro/exastro-agent \\\n--namespace exastro \\\n--values exastro-agent.yaml",
    "kubectl scale deployment ita-ag-oase --namespace exastro --replicas=${RS_AG}",
    "helm uninstall exastro-agent --namespace exastro",
    "kubectl delete pv pv-ita-ag-oase",
    "sudo rm -rf /var/data/exastro-suite/exastro-agent/ita-ag-oase",
]


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "chart" / "values.yaml").read_text(encoding="utf-8"))
    return read


def test_every_value_of_the_guide_exists(values: dict[str, Any]) -> None:
    named = value_paths(guide_text())
    assert len(named) > 20
    assert {path for path in named if not is_value(path, values)} == set()


def test_a_value_that_does_not_exist_is_found(values: dict[str, Any]) -> None:
    text = (
        "`persistence.subPath`, `persistance.subPath: x`, `keepScaledToZero`, `keepScaled`, `agents[].podd`"
    )
    text += (
        "\n```yaml\nita-ag-oase:\n  agents:\n    - extraEnv: {A: b}\n      secrets: {}\n      pod: x\n```\n"
    )
    text += "```yaml\nita-ag-oase:\n  layouts: shared\n```\n"
    wrong = {path for path in value_paths(text) if not is_value(path, values)}
    assert wrong == {"persistance.subPath", "keepScaled", "agents[].podd", "ita-ag-oase.layouts"}


def test_every_file_of_the_guide_exists_and_every_example_is_in_the_guide() -> None:
    named = files(guide_text())
    assert {name for name in named if not (EXAMPLES / name).is_file()} == set()
    assert {path.name for path in EXAMPLES.glob("*.yaml")} <= named
    assert {f"{name}.yaml" for name in layouts()} <= named


def test_every_link_of_the_guide_leads_somewhere() -> None:
    text = guide_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert [link for link in links if not (GUIDE.parent / link).exists()] == []
    titles = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\((#[^)]+)\)", text)) <= titles


@pytest.mark.parametrize("command", KNOWN_COMMANDS)
def test_the_commands_that_users_know_are_in_the_guide(command: str) -> None:
    assert f"\n{command}\n" in f"\n{commands(guide_text())}\n"


def test_the_messages_of_the_guide_are_those_of_chart_and_agent() -> None:
    sources = [*(ROOT / "oase_agent").rglob("*.py"), *(ROOT / "chart" / "templates").rglob("*.tpl")]
    written = "".join(path.read_text(encoding="utf-8") for path in sources)
    quoted = messages(guide_text())
    assert len(quoted) > 8
    assert [message for message in quoted if message not in written] == []


def test_the_package_of_the_guide_is_that_of_the_chart() -> None:
    chart = yaml.safe_load((ROOT / "chart" / "Chart.yaml").read_text(encoding="utf-8"))
    assert f"`./{chart['name']}-{chart['version']}.tgz`" in guide_text()


def test_the_readme_leads_to_the_guide() -> None:
    assert "(docs/kubernetes.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
