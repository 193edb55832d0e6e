"""A wrong trait stops the hub at its start with what to write instead; nothing else does."""

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

import hubquota_hook as hook
from tests.hub.interpreters import isolated
from tests.testbed.environments import HUBS, hub_python
from tests.testbed.z2jh import hooked


def configured(**traits: Any) -> Config:  # noqa: ANN401 - any value
    c = Config()
    for name, value in traits.items():
        c.HubQuota[name] = value
    return c


def wrong(**traits: Any) -> str:  # noqa: ANN401
    with pytest.raises(TraitError) as fault:
        hook.setup_hubquota(configured(**traits))
    return str(fault.value)


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"failover": True}, "c.HubQuota has no failover: write one of failover_open, "),
        ({"failover_open": "no"}, "failover_open cannot be 'no': .* Write True or False."),
        ({"timeout": 0}, "timeout cannot be 0: .* Write a number of seconds, more than 0 and at most 3600"),
        ({"timeout": float("nan")}, "timeout cannot be nan: "),
        ({"timeout": "2s"}, "timeout cannot be '2s': .* Write a number of seconds"),
        ({"max_staleness": 3601}, "max_staleness cannot be 3601: "),
        ({"first_launch_timeout": None}, "first_launch_timeout cannot be None: "),
        ({"launch_group": 3}, "launch_group cannot be 3: .* Write the name of a key of user_options, or a callable"),
        ({"namespace": "Jupyter_Hub"}, "no namespace can have this name. Write the name of a namespace"),
        ({"primehub_annotation": 1.5}, "primehub_annotation cannot be 1.5: "),
        ({"message_template": ["x"]}, "message_template cannot be .* Write a Jinja2 template"),
        ({"message_template": "{{ text"}, "it is no template: "),
        ({"message_template": "{{ txt }} {{ name }}"}, "there is no variable name, txt, only again, group, html, "),
        ({"message_template": "{{ text | nicely }}"}, "it is no template: No filter named 'nicely'"),
        ({"message_template": " {# nothing #} "}, "it says nothing"),
        ({"message_template": "{{ quotas[0].policy }}"}, "does not render where the quota cannot be read: "),
        ({"message_template": "{% if quotas %}Used up.{% endif %}"}, "it says nothing where the quota cannot be read"),
        (
            {"html_template": "<b>{{ again.at }}</b>"},
            "html_template cannot be .* does not render where it works again only when servers are stopped: ",
        ),
        (
            {"html_template": "{% if again %}{{ again.wait }}, or stop: {{ sooner.wait }}{% else %}x{% endif %}"},
            "does not render where stopping servers does not help: 'None' has no attribute 'wait'",
        ),
        (
            {"html_template": "{{ servers[0] if quotas else text }}"},
            "does not render where no server runs: .* has no element 0",
        ),
        (
            {"html_template": "{% for q in quotas %}{{ q.message }}{% else %}{{ text }}{% endfor %}"},
            "says nothing of a policy without a group, a window and a message",
        ),
        (
            {"message_template": "{% if reason != 'server-options-unusable' %}{{ text }}{% endif %}"},
            "says nothing where the chosen options cannot be used",
        ),
        ({"html_template": "{{ 1 // 0 }}"}, "it does not render: "),
    ],
)
def test_a_wrong_trait_stops_the_hub_and_the_error_says_what_to_write(traits: dict[str, Any], words: str) -> None:
    told = wrong(**traits)
    assert re.search(words, told), told


@pytest.mark.hub
@pytest.mark.parametrize("major", HUBS)
def test_a_hub_with_a_wrong_trait_ends_before_it_serves_anybody_and_says_what_to_write(
    tmp_path: Path, major: str
) -> None:
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(hooked(tmp_path / "root", timeout=-1))
    command = [str(hub_python(major)), "-m", "jupyterhub", "-f", str(config)]
    done = subprocess.run(
        command, cwd=tmp_path, env=isolated(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode > 0
    assert re.search(r"c\.HubQuota\.timeout cannot be -1: .* Write a number of seconds", done.stderr), done.stderr
    assert not list(tmp_path.glob("*.sqlite"))


def test_what_is_told_of_a_long_value_is_its_beginning() -> None:
    assert len(wrong(message_template="{{ x }}" * 10_000)) < 1000


def test_every_trait_says_what_it_is_and_what_to_write() -> None:
    for trait in hook.HubQuota.class_traits(config=True).values():
        assert trait.help
        assert trait.metadata["write"]


def test_what_z2jh_passes_on_from_yaml_is_taken() -> None:
    hook.setup_hubquota(
        configured(timeout=2, max_staleness=60, failover_open=False, namespace="hub-1", launch_group="g")
    )


@pytest.mark.parametrize("chosen", ["kubespawner", "kubespawner.KubeSpawner", "elsewhere.MySpawner", "simple"])
def test_neither_a_cluster_nor_the_spawner_s_module_is_needed_for_the_hub_to_start(chosen: str) -> None:
    c = configured()
    c.JupyterHub.spawner_class = chosen
    hook.setup_hubquota(c)
    assert c.Spawner.pre_spawn_hook is c.KubeSpawner.pre_spawn_hook
    assert ("MySpawner" in c) == (chosen == "elsewhere.MySpawner")


def test_each_spawner_s_copy_of_the_configuration_has_one_and_the_same_hook() -> None:
    c = configured()
    hook.setup_hubquota(c)
    assert copy.deepcopy(c).KubeSpawner.pre_spawn_hook is c.KubeSpawner.pre_spawn_hook
