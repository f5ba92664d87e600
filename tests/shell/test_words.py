"""What is typed, without a kernel: how words are split, numbers read, rules put together, history kept."""

from __future__ import annotations

import pytest

from emulator.shell.prompt import history_file
from emulator.shell.rules import parts
from emulator.shell.session import WrongCommand, number, words


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("tcp 443", {"protocol": "tcp", "port": "443"}),
        ("ingress tcp 80,443 from 10.0.0.0/8", {"protocol": "tcp", "port": "80,443", "cidr": "10.0.0.0/8"}),
        ("egress to 10.0.0.1/32", {"cidr": "10.0.0.1/32"}),
        ("89 priority 3", {"protocol": "89", "priority": 3}),
        ("ICMP", {"protocol": "icmp"}),
        ("", {}),
    ],
)
def test_parts_of_a_rule(said, wanted):
    assert parts(said.split(), "sg ...") == wanted


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("tpc 443", "'tpc' is not understood; did you mean tcp"),
        ("tcp from", "nothing stands behind from"),
        ("443 80 9", "'9'"),
    ],
)
def test_what_is_no_part_of_a_rule(said, message):
    with pytest.raises(WrongCommand, match=message):
        parts(said.split(), "sg ...")


def test_words_and_numbers():
    assert words("save 'a file.toml'", "", 2, 2) == ["save", "a file.toml"]
    with pytest.raises(WrongCommand, match="No closing quotation"):
        words("'a", "x", 0, 9)
    with pytest.raises(WrongCommand, match="write explain NUMBER"):
        words("", "explain NUMBER", 1, 1)
    assert number("3", "record", range(1, 4)) == 3
    for word, said in (("4", "1 to 3"), ("-1", "1 to 3"), ("two", "1 to 3")):
        with pytest.raises(WrongCommand, match=said):
            number(word, "record", range(1, 4))
    with pytest.raises(WrongCommand, match="there is none yet"):
        number("1", "record", range(1, 1))


def test_where_history_is_kept(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert str(history_file()) == "/state/vpclab/history"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(history_file()) == "/home/me/.local/state/vpclab/history"
