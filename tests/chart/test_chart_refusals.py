"""What cannot work is refused before it reaches the cluster, with the key to change."""

import re

import pytest

from tests.chart.chart_files import CHART, EXAMPLES
from tests.chart.engine import HelmFailed, render, values_from_yaml
from tests.chart.refused_values import REFUSED
from tests.chart.sample_values import TOKEN, agent, values


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_cannot_work_are_refused_with_the_key_to_change(case: str) -> None:
    refused = REFUSED[case]
    with pytest.raises(HelmFailed, match=refused.key) as refusal:
        render(CHART, refused.values)
    assert re.search(refused.says, str(refusal.value))
    assert "nil pointer" not in str(refusal.value)


def test_the_file_that_users_fill_in_is_refused_until_they_did() -> None:
    text = (EXAMPLES / "exastro-agent.yaml").read_text(encoding="utf-8")
    with pytest.raises(HelmFailed, match="EXASTRO_REFRESH_TOKEN"):
        render(CHART, values_from_yaml(text))


def test_a_refusal_tells_no_secret() -> None:
    password = "a-password-nobody-may-read"
    secret = {"EXASTRO_REFRESH_TOKEN": TOKEN, "EXASTRO_USERNAME": "admin", "EXASTRO_PASSWORD": password}
    with pytest.raises(HelmFailed) as refusal:
        render(CHART, values(agent(secret=secret), agent(secret=secret)))
    assert password not in str(refusal.value)
    assert TOKEN not in str(refusal.value)


@pytest.mark.parametrize("replicas", [0, 1, None])
def test_no_pod_and_one_pod_are_allowed(replicas: int | None) -> None:
    deployment = render(CHART, values(replicas=replicas)).manifests.one("Deployment")
    assert deployment["spec"].get("replicas") == replicas


def test_an_entry_that_overlays_only_one_option_of_the_default_agent_renders_or_names_what_is_missing() -> (
    None
):
    """`--set ita-ag-oase.agents[0].extraEnv.LOG_LEVEL=DEBUG` crashed the reference with a nil pointer."""
    with pytest.raises(HelmFailed) as refusal:
        render(CHART, {"ita-ag-oase": {"agents": [{"extraEnv": {"LOG_LEVEL": "DEBUG"}}]}})
    assert "nil pointer" not in str(refusal.value)
    assert "EXASTRO_" in str(refusal.value)
