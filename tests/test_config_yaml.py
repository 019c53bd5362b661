"""What YAML text means, and what is refused before it can do harm."""

import math
import re
import sys
import time

import pytest

from config.load import check_config, read_config
from config.problems import ConfigError, Origin, dotted
from config.yaml_reader import read_file, read_text
from tests.process import python


def value_of(text):
    layer = read_text(text, "x.yaml")
    assert layer.problems == []
    return layer.data


def problems_of(text):
    try:
        return [str(problem) for problem in read_text(text, "x.yaml").problems]
    except ConfigError as error:
        return str(error).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1.", 1.0), (".5", 0.5), ("-2E+4", -2e4), ("12", 12), ("-7", -7), ("007", 7), ("0o17", 15),
        ("0x1F", 31), ("1_000", "1_000"), ("12:30:45", "12:30:45"), ("2024-01-01", "2024-01-01"), (".inf", math.inf),
        ("-.Inf", -math.inf), ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("true", True),
        ("False", False), ("null", None), ("~", None), ("", None), ("'1e-3'", "1e-3"), ('"true"', "true"),
        ("cuda:0", "cuda:0"), ("[1, 2.5, {a: b}]", [1, 2.5, {"a": "b"}]), ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}), (".nan", math.nan),
    ],
)  # fmt: skip
def test_scalars_follow_yaml_1_2(text, value):
    assert repr(value_of(text)) == repr(value)  # of the same type too, and nan is no equal of itself


@pytest.mark.parametrize("number", ["9" * 5000, "0." + "9" * 4998])
def test_an_endless_number_is_refused(number):
    assert problems_of(f"a: {number}") == ["x.yaml:1: a: found a number of 5000 digits"]


def test_every_path_knows_its_line():
    layer = read_text("a: 1\nb:\n  c: [x,\n    y]\n  d: {e: 2}\nf: &n {g: 1}\nh: *n\n", "x.yaml")
    lines = {dotted(path): origin.line for path, origin in layer.origins.items()}
    first = {"": 1, "a": 1, "b": 2, "b.c": 3, "b.c.0": 3, "b.c.1": 4, "b.d": 5, "b.d.e": 5}
    assert lines == {**first, "f": 6, "f.g": 6, "h": 7, "h.g": 7}


def test_aliases_are_copies():
    data = value_of("a: &x {k: [1]}\nb: *x")
    data["b"]["k"].append(2)
    assert data["a"] == {"k": [1]}


def test_a_dropped_duplicate_leaves_no_trace():
    layer = read_text("a: {b: 1}\na: {c: 2}", "x.yaml")
    assert layer.data == {"a": {"b": 1}}
    assert layer.origins == {path: Origin("x.yaml", 1) for path in [(), ("a",), ("a", "b")]}


def alias_bomb(width=10, levels=9):
    lines = ["l0: &l0 [x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (alias_bomb(), "more than 10,000 values, anchors expanded; no config is that large"),
        ("a: [" + "1, " * 20_000 + "]", "more than 10,000 values"),
        ("a: " + "[" * 400_000, "nested deeper than 50 levels"),
        ("{a: " * 200_000, "nested deeper than 50 levels"),
        ("? " * 300_000, "nested deeper than 50 levels"),
        ("- " * 300_000, "nested deeper than 50 levels"),
        ("".join(f"{' ' * n}a:\n" for n in range(1000)), "nested deeper than 50 levels"),
        ("a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 30 + "*a" + "]" * 30, "nested deeper than 50 levels"),
        ("\n".join("k: 1" for _ in range(20_000)), "more than 10,000 values"),
        ("a: &a " + "x" * 900 + "\nb: [" + "*a, " * 2_000 + "]", "more than 10,000 values"),
        ("\n".join("k: {a: 1}" for _ in range(2_000)), "the key is given twice"),
    ],
)
def test_bombs_are_refused_at_once(text, message):
    start = time.process_time()
    assert message in problems_of(text)[-1]
    assert time.process_time() - start < 1  # a tenth of it on a machine that does nothing else


def test_thousands_of_problems_are_cut_and_nothing_unprintable_is_shown(tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("\n".join(f'"\\e[31m{number}": 1' for number in range(4_000)))
    with pytest.raises(ConfigError) as caught:
        check_config(read_config([str(path)]))
    lines = str(caught.value).splitlines()
    assert len(lines) == 101 and lines[-1].startswith("... and 3,9")
    assert all(line.isprintable() for line in lines)


def test_what_is_deep_or_large_but_sane_is_taken():
    assert problems_of("a: " + "[" * 45 + "]" * 45) == []
    assert len(value_of("a: [" + "1, " * 9_000 + "]")["a"]) == 9_000


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["digit.yaml"], "digit.yaml: no such file; did you mean 'digits.yaml'?"),
        (["x", "y"], "x: no such file\ny: no such file"),
        (["."], ".: cannot be read: Is a directory"),
        (["a\0b"], r"'a\x00b': cannot be read: embedded null byte"),
        (["latin"], "latin:2: not UTF-8 text (byte 0xe9)"),
        (["utf-16"], "utf-16:1: not UTF-8 text (byte 0xff)"),
        (["huge"], "huge: larger than 1 MB, which no config is"),
    ],
)
def test_files_that_cannot_be_read(files, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.yaml").write_text("seed: 1")
    (tmp_path / "latin").write_bytes(b"seed: 1\nname: caf\xe9\n")
    (tmp_path / "utf-16").write_text("seed: 1", encoding="utf-16")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(100_000_000)
    start = time.process_time()
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        read_config(files)
    assert time.process_time() - start < 1  # it is not even read


def test_a_byte_order_mark_and_windows_lines_are_taken(tmp_path):
    path = tmp_path / "windows.yaml"
    path.write_bytes("seed: 1\r\nname: ä\r\n".encode("utf-8-sig"))
    assert read_file(str(path)).data == {"seed": 1, "name": "ä"}


READ_WITH_LITTLE_MEMORY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (200 * 2**20, 200 * 2**20))
from config.load import read_config
from config.problems import ConfigError
for path in sys.argv[1:]:
    try:
        read_config([path])
    except ConfigError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory with setrlimit")
def test_bombs_take_little_memory(tmp_path):
    files = [tmp_path / name for name in ("aliases", "deep", "many")]
    bombs = (alias_bomb(20, 20), "a: " + "[" * 900_000, "a: [" + "x," * 450_000 + "]")
    for file, text in zip(files, bombs, strict=True):
        file.write_text(text)
    done = python("-c", READ_WITH_LITTLE_MEMORY, *files)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 3
