import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from edgeprune import registry
from edgeprune.errors import ConfigError

METHODS = {
    "models": ("names", "build"),
    "datasets": ("suffixes", "read"),
    "criteria": ("scores",),
    "similarity": ("summarise", "products", "finish"),
    "runtimes": ("name", "mode", "open", "facts"),
}
ON_DEVICES = ("name", "files", "plans", "read", "facts")
EVERY = [(kind, name) for kind in METHODS for name in registry.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_entry_has_what_its_protocol_asks(kind, name):
    plug_in = registry.get(kind, name)
    methods = ON_DEVICES if kind == "runtimes" and name in ("onnxruntime-agent", "trtexec") else METHODS[kind]
    assert [method for method in methods if getattr(plug_in, method, None) is None] == []


def test_the_built_in_entries_are_found():
    found = {kind: set(registry.names(kind)) for kind in METHODS}
    assert {"resnet"} <= found["models"]
    assert {"radioml2016", "arrays"} <= found["datasets"]
    assert {"synflow"} <= found["criteria"]
    assert {"cka-unbiased", "cka-biased", "cosine"} <= found["similarity"]
    assert {"onnxruntime"} <= found["runtimes"]


def test_names_are_listed_without_importing_torch():
    code = (
        "import sys; from edgeprune import registry, targets\n"
        f"found = [registry.names(kind) for kind in {tuple(METHODS)!r}] + [targets.names()]\n"
        "assert all(found), found\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("kind", "typed", "meant"),
    [
        ("criteria", "sinflow", "synflow"),
        ("similarity", "cka_unbiased", "cka-unbiased"),
        ("similarity", "cosin", "cosine"),
        ("runtimes", "onnx-runtime", "onnxruntime"),
        ("models", "resnets", "resnet"),
        ("datasets", "radioml", "radioml2016"),
    ],
)
def test_an_unknown_name_is_a_config_error_with_the_nearest(kind, typed, meant):
    with pytest.raises(ConfigError) as caught:
        registry.get(kind, typed)
    assert repr(typed) in caught.value.message
    assert f"Did you mean {meant!r}?" in caught.value.hint
    assert all(name in caught.value.hint for name in registry.names(kind))


def test_every_network_has_a_family():
    assert {"resnet56", "resnet110", "resnet56-1d", "resnet110-1d"} <= set(registry.model_names())
    assert all(name in registry.family_of(name).names for name in registry.model_names())


def test_an_unknown_network_is_a_config_error_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no model is named 'resnet65'\. Did you mean 'resnet56'\?"):
        registry.family_of("resnet65")


class Outside:
    def scores(self, model, chain, input_shape):
        return {1: 1.0}


def test_the_packages_are_asked_once(monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or ())
    registry.points.cache_clear()
    try:
        registry.names("criteria")
        registry.names("criteria")
        assert asked == ["edgeprune.criteria"]
    finally:
        registry.points.cache_clear()


def test_a_package_adds_its_own(monkeypatch):
    def points(kind):
        return (EntryPoint("my-score", f"{__name__}:Outside", "edgeprune.criteria"),) if kind == "criteria" else ()

    monkeypatch.setattr(registry, "points", points)
    assert "my-score" in registry.names("criteria")
    assert "my-score" not in registry.names("similarity")
    assert registry.get("criteria", "my-score") is sys.modules[__name__].Outside
