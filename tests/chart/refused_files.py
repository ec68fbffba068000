"""Files of agents that could not be, and the key that the refusal must name."""

from tests.chart.refused_kind import Refused
from tests.chart.sample_values import agent, env, values

_OPTIONS = {"version": 1}
_SETTINGS = {"settings": [{"EVENT_COLLECTION_SETTINGS_NAME": "local"}]}

OF_FILES: dict[str, Refused] = {
    "two files of options": Refused(
        values(agent(sourceOptions={"inline": _OPTIONS, "existingConfigMap": "mine"})),
        r"agents\[0\]\.sourceOptions",
        "remove one of them",
    ),
    "a file of options beside that of all agents": Refused(
        values(
            agent(sourceOptions={"existingConfigMap": {"name": "mine"}}),
            agentDefaults={"sourceOptions": {"inline": _OPTIONS}},
        ),
        r"agents\[0\]\.sourceOptions",
        "agentDefaults",
    ),
    "options without their version": Refused(
        values(agent(sourceOptions={"inline": {"lab": {"insecure": True}}})),
        r"sourceOptions\.inline",
        "version",
    ),
    "settings without their list": Refused(
        values(agent(localSettings={"inline": {"EVENT_COLLECTION_SETTINGS_NAME": "local"}})),
        r"localSettings\.inline",
        "settings",
    ),
    "secrets that no file names": Refused(
        values(agent(localSettings={"secretFiles": "mine"})), r"localSettings\.secretFiles", "inline"
    ),
    "a secret outside of the folder": Refused(
        values(
            agent(
                sourceOptions={
                    "inline": _OPTIONS,
                    "secretFiles": [{"name": "mine", "files": {"../token": "token"}}],
                }
            )
        ),
        r"sourceOptions\.secretFiles",
        r"\.\./token",
    ),
    "a file of options that is named twice": Refused(
        values(agent(sourceOptions={"inline": _OPTIONS}, extraEnv=env(SOURCE_OPTIONS_FILE="/mine"))),
        r"extraEnv\.SOURCE_OPTIONS_FILE",
        "sourceOptions",
    ),
    "a mode that is given twice": Refused(
        values(
            agent(localSettings={"inline": _SETTINGS}, env=[{"name": "SETTINGS_FILE_MODE", "value": "only"}])
        ),
        r"env \(SETTINGS_FILE_MODE\)",
        "localSettings",
    ),
    "a mode that does not exist": Refused(
        values(agent(localSettings={"inline": _SETTINGS, "mode": "instead"})), "mode"
    ),
    "an unknown key of a file": Refused(
        values(agent(sourceOptions={"inlien": _OPTIONS})), "sourceOptions", "inlien"
    ),
}
