"""The notes after an installation: the next commands, what has no effect, and no secret."""

from tests.chart.chart_files import CHART
from tests.chart.engine import render, values_from_yaml
from tests.chart.sample_values import TOKEN, Values, agent, env, values


def notes(given: Values, name: str = "exastro-agent", namespace: str = "exastro") -> str:
    return render(CHART, given, name=name, namespace=namespace).notes


def test_the_next_commands_are_those_of_this_release() -> None:
    told = notes(values(), name="my-release", namespace="events")
    assert "kubectl get po --namespace events" in told
    assert "helm test my-release --namespace events" in told
    assert "deployment/ita-ag-oase" in told


def test_a_key_that_the_chart_does_not_know_is_told() -> None:
    assert "serviceAccout" in notes(values(serviceAccout={"create": True}))


def test_no_key_of_the_default_values_is_called_unknown() -> None:
    complete = values_from_yaml((CHART / "values.yaml").read_text(encoding="utf-8"))
    complete["ita-ag-oase"]["agents"][0]["secret"]["EXASTRO_REFRESH_TOKEN"] = TOKEN
    assert "no key of this chart" not in notes(complete)


def test_without_persistence_it_is_told_what_may_be_lost() -> None:
    assert "persistence.enabled" in notes(values(persistence={"enabled": False}))


def test_a_password_among_the_options_is_told_without_its_value() -> None:
    told = notes(values(agent(extraEnv=env(MY_PASSWORD="a-password-nobody-may-read"))))
    assert "MY_PASSWORD" in told
    assert "a-password-nobody-may-read" not in told


def test_no_secret_is_told() -> None:
    assert TOKEN not in notes(values())
