"""Several pods of one agent: what they get, and a Role that is bound to the names that the agents use."""

from collections.abc import Iterator

import pytest

from oase_agent.config.values import setting_names
from oase_agent.coordination.kubernetes.lease import base_name, claim_name, member_name
from tests.chart.chart_files import CHART
from tests.chart.engine import render
from tests.chart.manifests import Manifest, Manifests
from tests.chart.refused_replicas import several
from tests.chart.sample_values import Values, agent, env, values

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
BASE = base_name("org001", "ws01", "oase-agent")
MOST_NAMES = 500


def rendered(given: Values, kube_version: str = "1.31.0") -> Manifests:
    return render(CHART, given, kube_version=kube_version).manifests


def bound_names(manifests: Manifests) -> list[str]:
    """Return every name that a Role lets its account read and write."""
    return [
        name
        for role in manifests.all("Role")
        for rule in role["rules"]
        for name in rule.get("resourceNames", [])
    ]


def names_of(base: str, settings: tuple[str, ...], replicas: int = 10) -> list[str]:
    """Return the names of the Leases that an agent uses, as it computes them itself."""
    members = [member_name(base, slot) for slot in range(replicas)]
    return sorted([*members, *(claim_name(base, setting) for setting in settings)])


def pod_of(manifests: Manifests) -> Manifest:
    spec: Manifest = manifests.one("Deployment")["spec"]["template"]["spec"]
    return spec


def variables(container: Manifest) -> dict[str, Manifest]:
    return {entry["name"]: entry for entry in container["env"]}


@pytest.mark.parametrize(
    "text",
    [
        "id0001",
        "zabbix-problems, active-alerts",
        " twice ,twice,,  ",
        "監視 サーバー,Über-Straße,\U0001f600",
        "\u3000wide\u3000,\xa0hard\u2003,\x1cunit\x1f\x0b,\x85next\u2028",
        "with  blanks  inside,-,C:\\a\"b'c{{ d }}",
    ],
)
def test_the_role_is_bound_to_the_names_that_the_agent_uses(text: str) -> None:
    given = several(agent(extraEnv=env(EVENT_COLLECTION_SETTINGS_NAMES=text)))
    expected = names_of(BASE, tuple(filter(None, setting_names(text))))
    assert bound_names(rendered(given)) == expected


@pytest.mark.parametrize("name", ["oase-agent", "エージェント", "Agent 1", " blanks "])
def test_names_follow_organization_workspace_and_agent(name: str) -> None:
    options = env(name, EXASTRO_ORGANIZATION_ID="Org_2", EXASTRO_WORKSPACE_ID="ws-3")
    found = bound_names(rendered(several(agent(extraEnv=options), coordination={"maxReplicas": 3})))
    assert found == names_of(base_name("Org_2", "ws-3", name), ("id0001",), replicas=3)


@pytest.mark.parametrize(
    "local",
    [
        {"inline": {"settings": [{"EVENT_COLLECTION_SETTINGS_NAME": " 局所 "}]}},
        {
            "inline": "settings:\n- {EVENT_COLLECTION_SETTINGS_NAME: 局所}\n- EVENT_COLLECTION_SETTINGS_NAME: id0001"
        },
        {"existingConfigMap": "mine", "names": ["局所"]},
    ],
    ids=["map", "text", "ConfigMap of the user's"],
)
def test_settings_of_a_file_and_former_ones_are_among_the_names(local: Values) -> None:
    given = several(agent(localSettings=local), coordination={"formerSettings": ["former"]})
    assert bound_names(rendered(given)) == names_of(BASE, ("id0001", "局所", "former"))


def test_settings_of_a_file_alone_are_enough() -> None:
    options = env(EVENT_COLLECTION_SETTINGS_NAMES=None)
    local = {"mode": "only", "inline": {"settings": [{"EVENT_COLLECTION_SETTINGS_NAME": "local"}]}}
    given = several(agent(extraEnv=options, localSettings=local))
    assert bound_names(rendered(given)) == names_of(BASE, ("local",))


def test_a_thousand_settings_are_bound_by_several_roles() -> None:
    settings = [f"setting {number}" for number in range(1000)]
    manifests = rendered(several(agent(extraEnv=env(EVENT_COLLECTION_SETTINGS_NAMES=",".join(settings)))))
    assert bound_names(manifests) == names_of(BASE, tuple(settings))
    roles = manifests.all("Role")
    assert [role["metadata"]["name"] for role in roles] == [
        "ita-ag-oase-leases",
        "ita-ag-oase-leases-2",
        "ita-ag-oase-leases-3",
    ]
    assert all(len(role["rules"][-1]["resourceNames"]) <= MOST_NAMES for role in roles)
    assert [found["roleRef"]["name"] for found in manifests.all("RoleBinding")] == [
        role["metadata"]["name"] for role in roles
    ]


def test_only_what_cannot_be_bound_to_names_is_allowed_for_all_leases() -> None:
    (rules,) = [role["rules"] for role in rendered(several()).all("Role")]
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert rules[0] == {**leases, "verbs": ["create", "list", "watch"]}
    assert {**rules[1], "resourceNames": None} == {
        **leases,
        "verbs": ["get", "update"],
        "resourceNames": None,
    }


def test_every_agent_of_a_pod_has_names_of_its_own() -> None:
    second = agent("second", extraEnv=env("second", EVENT_COLLECTION_SETTINGS_NAMES="id0002"))
    found = bound_names(rendered(several(agent("first"), second)))
    first_base, second_base = (base_name("org001", "ws01", name) for name in ("first", "second"))
    assert found == sorted(names_of(first_base, ("id0001",)) + names_of(second_base, ("id0002",)))


def test_a_pod_is_told_how_to_share_and_who_it_is() -> None:
    (container,) = pod_of(rendered(several(coordination={"maxReplicas": 4})))["containers"]
    found = variables(container)
    assert found["COORDINATION"]["value"] == "kubernetes"
    assert found["COORDINATION_SLOTS"]["value"] == "4"
    facts = {
        name: found[name]["valueFrom"]["fieldRef"]["fieldPath"] for name in ("POD_NAME", "POD_NAMESPACE")
    }
    assert facts == {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}


def test_a_variable_of_the_users_that_tells_the_same_is_given_once() -> None:
    name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    (container,) = pod_of(rendered(several(agent(env=[name]))))["containers"]
    assert [entry for entry in container["env"] if entry["name"] == "POD_NAME"] == [name]


def test_only_agents_get_the_token_of_the_account() -> None:
    extra = {"name": "extra", "image": "registry.example/extra:1"}
    pod = pod_of(rendered(several(extraContainers=[extra], initContainers=[{**extra, "name": "init"}])))
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "ita-ag-oase"
    (volume,) = [found for found in pod["volumes"] if "serviceAccountToken" in str(found)]
    mounting = {
        container["name"]: mount["mountPath"]
        for container in [*pod["containers"], *pod["initContainers"]]
        for mount in container.get("volumeMounts", [])
        if mount["name"] == volume["name"]
    }
    assert mounting == {"ita-ag-oase-oase-agent": TOKEN_FOLDER}


def test_an_account_is_made_and_bound_or_one_that_is_there_is_bound() -> None:
    made = rendered(several())
    assert made.one("ServiceAccount")["metadata"]["name"] == "ita-ag-oase"
    assert made.one("RoleBinding")["subjects"] == [
        {"kind": "ServiceAccount", "name": "ita-ag-oase", "namespace": "exastro"}
    ]
    named = rendered(several(serviceAccount={"name": "mine"}))
    assert named.all("ServiceAccount") == []
    assert named.one("RoleBinding")["subjects"][0]["name"] == "mine"
    assert pod_of(named)["serviceAccountName"] == "mine"


def test_a_role_that_is_made_by_hand_is_left_to_the_user() -> None:
    given = several(
        agent(existingSecret="mine", secret={}, extraEnv=env(EVENT_COLLECTION_SETTINGS_NAMES=None)),
        coordination={"createRole": False},
    )
    manifests = rendered(given)
    assert manifests.all("Role") == manifests.all("RoleBinding") == []
    assert variables(pod_of(manifests)["containers"][0])["COORDINATION"]["value"] == "kubernetes"


def test_several_pods_are_on_several_nodes_if_that_can_be_and_leave_one_by_one() -> None:
    manifests = rendered(several())
    (constraint,) = pod_of(manifests)["topologySpreadConstraints"]
    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == (
        "kubernetes.io/hostname",
        "ScheduleAnyway",
    )
    assert constraint["labelSelector"] == manifests.one("Deployment")["spec"]["selector"]
    assert manifests.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    strategy = manifests.one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_a_spread_of_the_users_goes_before_that_of_the_chart() -> None:
    own = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    (constraint,) = pod_of(rendered(several(topologySpreadConstraints=[own])))["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "zone"


@pytest.mark.parametrize(("version", "enabled"), [("1.26.0", "auto"), ("1.31.0", False)])
def test_no_budget_is_made_where_it_would_block_or_is_not_wanted(version: str, enabled: object) -> None:
    manifests = rendered(several(podDisruptionBudget={"enabled": enabled}), version)
    assert manifests.all("PodDisruptionBudget") == []


def test_the_number_of_pods_can_be_left_to_kubectl() -> None:
    manifests = rendered(several(replicas=None, coordination={"enabled": True}))
    assert "replicas" not in manifests.one("Deployment")["spec"]
    assert bound_names(manifests) == names_of(BASE, ("id0001",))


ON_ONE_NODE: dict[str, Values] = {
    "a folder of a named node": {"hostPath": {"create": True, "nodeName": "node-1"}},
    "a volume by hand that all nodes reach": {"volumeType": "NFS"},
}


@pytest.mark.parametrize("case", ON_ONE_NODE)
def test_a_folder_that_all_pods_reach_is_enough(case: str) -> None:
    assert bound_names(rendered(several(persistence=ON_ONE_NODE[case])))


def test_pods_that_are_all_on_one_node_share_its_folder() -> None:
    pinned = several(persistence={}, nodeSelector={"kubernetes.io/hostname": "node-1"})
    assert bound_names(rendered(pinned))


ALONE: dict[str, Values] = {
    "by default": values(),
    "with one pod": values(replicas=1),
    "stopped": values(replicas=0),
    "switched off": values(coordination={"enabled": False}),
    "with other words for it": values(coordination=None),
}


@pytest.mark.parametrize("case", ALONE)
def test_a_pod_alone_gets_nothing_of_all_this(case: str) -> None:
    manifests = rendered(ALONE[case])
    kinds = {"ServiceAccount", "Role", "RoleBinding", "PodDisruptionBudget"}
    assert not kinds & {kind for kind, _ in manifests}
    pod = pod_of(manifests)
    assert "topologySpreadConstraints" not in pod
    assert not [name for name in _texts(pod) if "COORDINATION" in name or "token" in name.casefold()[-6:-1]]


def _texts(pod: Manifest) -> Iterator[str]:
    yield from variables(pod["containers"][0])
    yield from (volume["name"] for volume in pod["volumes"])


def test_the_notes_tell_what_more_pods_would_do() -> None:
    assert "share the settings of each agent" in render(CHART, several()).notes
    assert "one works and the others wait" in render(CHART, values()).notes


def test_the_notes_tell_of_the_way_to_the_api_server() -> None:
    policy = {"enabled": True, "egress": [{"ports": [{"port": 443}]}]}
    assert "networkPolicy.egress" in render(CHART, several(networkPolicy=policy)).notes
    assert "networkPolicy.egress" not in render(CHART, several()).notes
