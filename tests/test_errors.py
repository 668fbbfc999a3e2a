import pytest

from edgeprune import errors
from edgeprune.errors import ConfigError, DataError, DeviceError, EdgepruneError, ModelError, reason_of, unknown_name


def test_exit_codes_are_those_of_the_contract():
    codes = {ConfigError: 2, ModelError: 3, DataError: 3, DeviceError: 4, EdgepruneError: 70}
    assert {kind: kind.exit_code for kind in codes} == codes


def test_every_kind_is_drawn_in_the_docstring():
    kinds = [kind.__name__ for kind in EdgepruneError.__subclasses__() if kind.__module__ == errors.__name__]
    assert kinds
    assert all(kind in (errors.__doc__ or "") for kind in kinds)


def test_a_message_is_one_line_whatever_it_quotes():
    error = DataError("cannot read a\nb.pkl", "move\r\nit")
    assert error.message == "cannot read a b.pkl"
    assert str(error) == "cannot read a b.pkl. move it"


def test_without_a_hint_the_message_stands_alone():
    assert str(ModelError("no weights")) == "no weights"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError("\n  indented\n"), "indented"),
        (EOFError(), "EOFError"),
        (KeyError(), "KeyError"),
    ],
)
def test_the_reason_of_a_foreign_error_is_its_first_line_or_its_type(error, reason):
    assert reason_of(error) == reason


def test_unknown_name_suggests_the_nearest_and_lists_all():
    error = unknown_name("criterion", "sinflow", ["taylor", "synflow"])
    assert isinstance(error, ConfigError)
    assert error.message == "no criterion is named 'sinflow'"
    assert error.hint == "Did you mean 'synflow'? Known: synflow, taylor"


def test_unknown_name_far_from_all_suggests_none():
    assert unknown_name("target", "xyz", ["host-cpu"]).hint == "Known: host-cpu"
