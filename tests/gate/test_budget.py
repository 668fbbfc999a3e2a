import json
from pathlib import Path

import jsonschema
import pytest
from markdown_it import MarkdownIt

from edgeprune.errors import ConfigError
from edgeprune.gate import budget

ROOT = Path(__file__).parents[2]
GOOD = """
[targets.jetson-orin]
max_median_ms = 1.5
max_p99_ms = 2
min_accuracy_at_snr = {"10" = 0.85, "-4" = 0.3}
max_regression = 0.05
[targets.jetson-orin."resnet56.v2"]
max_median_ms = 1.0
significance = 0.001
[targets.host-cpu.small]
min_speedup = 2.0
"""


def written(tmp_path, text):
    path = tmp_path / "edgeprune.toml"
    path.write_text(text)
    return path


def test_limits_of_a_model_replace_those_of_its_target(tmp_path):
    found = budget.read(written(tmp_path, GOOD))
    common = {"max_p99_ms": 2.0, "min_accuracy_at_snr": {"10": 0.85, "-4": 0.3}, "max_regression": 0.05}
    assert found.limits("jetson-orin", "resnet56.v2").given() == {**common, "max_median_ms": 1.0, "significance": 0.001}
    assert found.limits("jetson-orin", "another").given() == {**common, "max_median_ms": 1.5}
    assert found.limits("jetson-orin", "another").alpha == 0.01
    assert list(found.promises()) == [("jetson-orin", ""), ("jetson-orin", "resnet56.v2"), ("host-cpu", "small")]
    assert list(found.only(["host-cpu"]).promises()) == [("host-cpu", "small")]


def test_a_target_or_model_without_limits_is_an_error(tmp_path):
    found = budget.read(written(tmp_path, GOOD))
    with pytest.raises(ConfigError, match="no target of the budget is named 'jetson-orim'") as error:
        found.limits("jetson-orim", "")
    assert "Did you mean 'jetson-orin'" in error.value.hint
    with pytest.raises(ConfigError, match="sets no limit for other"):
        found.limits("host-cpu", "other")
    with pytest.raises(ConfigError, match="named 'nothing'"):
        found.only(["nothing"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[targets.x]\nmax_medain_ms = 1", "'max_medain_ms'"),
        ("[targets.x.y]\nmax_medain_ms = 1", "'max_medain_ms'"),
        ("[targets.x]\nmax_median_ms = 1\n[other]\na = 1", "'other'"),
        ("[targets.x]\nmax_median_ms = -1", "greater than 0"),
        ("[targets.x]\nmax_median_ms = true", "valid number"),
        ("[targets.x]\nmax_median_ms = nan", "finite"),
        ("[targets.x]\nmax_median_ms = inf", "finite"),
        ("[targets.x]\nmax_accuracy_drop = 1.5", "less than or equal to 1"),
        ("[targets.x]\nmax_regression = 0", "greater than 0"),
        ("[targets.x]\nmax_regression = 0.1\nsignificance = 2", "less than or equal"),
        ('[targets.x]\nmin_accuracy_at_snr = {"loud" = 0.5}', "loud"),
        ('[targets.x]\nmin_accuracy_at_snr = {"10" = 2}', "less than or equal to 1"),
        ("[targets.x]", "sets no limit"),
        ("[targets.x]\nsignificance = 0.01", "sets no limit"),
        ("", "targets"),
        ("targets = 1", "targets"),
        ("[targets", "not a TOML file"),
    ],
)
def test_a_bad_budget_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as error:
        budget.read(written(tmp_path, text))
    assert error.value.exit_code == 2
    assert "\n" not in error.value.message


def test_a_missing_budget_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such budget file"):
        budget.read(tmp_path / "edgeprune.toml")


def test_the_schema_takes_what_is_read_and_refuses_what_is_not():
    schema = json.loads((ROOT / "docs" / "edgeprune-budget.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    assert check.is_valid(budget.toml.tomllib.loads(GOOD))
    for text in (
        "targets = {}",
        "[targets.x]\nmax_medain_ms = 1",
        "[targets.x.y]\nbad = 1",
        "[targets.x]\nmin_speedup = -1",
    ):
        assert not check.is_valid(budget.toml.tomllib.loads(text)), text


def test_the_budget_in_the_documentation_is_one_and_has_every_key(tmp_path):
    tokens = MarkdownIt().parse((ROOT / "docs" / "ci.md").read_text())
    (example,) = [token.content for token in tokens if token.type == "fence" and token.info == "toml"]
    found = budget.read(written(tmp_path, example))
    keys = {key for target, model in found.promises() for key in found.limits(target, model).given()}
    assert keys == budget.Limits.model_fields.keys()
