"""The help of every command: complete, in sections, with examples that can be typed."""

import shlex

import click
import pytest
import torch
from scripts import script
from torch import nn

from edgeprune.cli import app
from edgeprune.cli._help import EVERY_OPTION, SECTIONS
from edgeprune.files.store import read_json

SHIPPED = ("host-cpu", "jetson-orin")


generate = script("docs/generate.py")
ROOT = click.Context(app, info_name="edgeprune", terminal_width=80, help_option_names=["-h", "--help"])
COMMANDS = {
    context.command_path.removeprefix("edgeprune "): context
    for command, context in generate.commands(app, ROOT)
    if not isinstance(command, click.Group)
}


def help_of(context, everything=False):
    context.meta.pop(EVERY_OPTION, None)
    if everything:
        context.meta[EVERY_OPTION] = True
    return context.command.get_help(context)


def options_of(context):
    return [each for each in context.command.get_params(context) if isinstance(each, click.Option)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_named_and_help_all_explains_each_in_a_section(name):
    context = COMMANDS[name]
    short, long = help_of(context), help_of(context, everything=True)
    for option in options_of(context):
        assert max(option.opts, key=len) in short
        words = (option.help or "").split()[:3]
        assert " ".join(words) in " ".join(long.split())
    assert "More options" not in long
    assert "\nOptions:\n" not in long, "every option belongs to a section"
    assert all(len(line) <= 80 for line in (short + "\n" + long).splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_can_be_typed(name):
    command = COMMANDS[name].command
    examples = command.examples.splitlines()
    assert len(examples) == (3 if len(options_of(COMMANDS[name])) > 7 else len(examples)) > 0
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "edgeprune"
        own = name.split(" ")
        assert words[: len(own)] == own
        parsed = command.make_context(name, words[len(own) :])
        assert parsed.params.get("target", "host-cpu") in (*SHIPPED, "TARGET.toml", None)


def test_a_long_help_begins_with_what_is_used_every_day():
    text = help_of(COMMANDS["prune-and-export"])
    explained, _, named = text.partition("More options, explained by --help-all:")
    assert all(f"  {each}" in explained for each in ("--target", "--data", "--keep-ratio", "--device", "--out"))
    assert all(each in named and each not in explained for each in ("--bridge", "--dla", "--hop"))
    assert [line[:-1] for line in explained.splitlines() if line[:-1] in SECTIONS] == list(SECTIONS)


def test_summaries_are_whole_and_every_command_is_in_a_section(run):
    text = run("--help").out
    assert "..." not in text.replace("[ARGS]...", "")
    assert "\nCommands:" not in text
    assert "is the model fast, small and accurate enough, and no slower than before?" in " ".join(text.split())


@pytest.mark.parametrize("words", [("plan",), ("device", "probe"), ("check", "calibrate"), ()])
def test_help_of_a_command_is_its_help_option(run, words):
    asked = run("help", *words)
    assert asked.code == 0
    assert asked.out == run(*words, "--help").out != ""


def test_help_all_is_printed_by_its_option(run):
    assert "--bridge [least-squares|inherit|kaiming]" in run("plan", "--help-all").out
    assert "--bridge [least-squares|inherit|kaiming]" not in run("plan", "--help").out


def test_names_may_be_spelled_in_other_ways(world, run, tmp_path):
    usual = ("plan", world / "model.pt", "--data", world / "frames.npz", "--keep", 3)
    plans = []
    for metric, criterion in (("cka-unbiased", "block-influence"), ("cka", "block_influence")):
        file = tmp_path / f"{metric}.json"
        assert run(*usual, "--metric", metric, "--criterion", criterion, "--out", file).code == 0
        plans.append(read_json(file))
    assert plans[0]["metric"] == plans[1]["metric"] == "cka-unbiased"
    assert plans[0]["kept"] == plans[1]["kept"]


def test_a_shape_may_be_written_with_an_x(run, tmp_path):
    torch.save(nn.Sequential(nn.Conv1d(2, 3, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()), tmp_path / "whole.pt")
    usual = ("inspect", tmp_path / "whole.pt", "--trust-pickle", "--class-names", "A,B,C", "--json", "--input-shape")
    assert run(*usual, "2x32").json == run(*usual, "2,32").json
