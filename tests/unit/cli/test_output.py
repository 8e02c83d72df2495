"""Events for programs, words for people."""

from __future__ import annotations

import io
import json

from flexosip.cli.output import Output
from flexosip.errors import NoAnswer


def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


def test_json_lines_are_alone_on_standard_output() -> None:
    out, err = streams()
    output = Output(json_lines=True, stdout=out, stderr=err)
    output.event("digit", "Key 5", digit="5", via="rfc4733")
    output.event("ended", reason=None)
    output.text("words")
    output.error(NoAnswer("Nobody."))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line.pop("event"), line.pop("at") > 1e9) for line in lines] == [("digit", True), ("ended", True), ("error", True)]
    assert lines[0] == {"digit": "5", "via": "rfc4733"}
    assert lines[1] == {"reason": None}
    assert lines[2]["message"] == "Nobody."
    assert lines[2]["explain"].startswith("Nobody. ")
    assert err.getvalue().startswith("Key 5\nwords\nflexosip: Nobody.")


def test_without_json_words_go_to_standard_output_and_errors_to_standard_error() -> None:
    out, err = streams()
    output = Output(stdout=out, stderr=err)
    output.event("digit", "Key 5", digit="5")
    output.event("listening", address="x")
    output.error("no")
    assert (out.getvalue(), err.getvalue()) == ("Key 5\n", "flexosip: no\n")


def test_every_line_is_flushed() -> None:
    class Flushed(io.StringIO):
        lines = 0

        def flush(self) -> None:
            self.lines += 1

    out = Flushed()
    output = Output(json_lines=True, stdout=out, stderr=io.StringIO())
    for _ in range(3):
        output.event("x")
    assert out.lines == 3


def test_control_characters_of_strangers_do_not_reach_the_terminal_and_json_escapes_them() -> None:
    out, err = streams()
    Output(json_lines=True, stdout=out, stderr=err).event("incoming", "Call from \x1b[2J\x9bx", **{"from": "\x1b[2J\nx"})
    assert "\x1b" not in out.getvalue() + err.getvalue()
    assert out.getvalue().count("\n") == 1


def test_a_terminal_without_utf_8_gets_the_line_all_the_same() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Output(stdout=out, stderr=out).text("Türklingel → an")
    assert raw.getvalue() == b"T\\xfcrklingel \\u2192 an\n"


def test_a_reader_who_has_gone_does_not_end_the_call() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    output = Output(json_lines=True, stdout=Gone(), stderr=io.StringIO())
    output.event("a")
    output.event("b")
    output._stdout.close()
    output.event("c")
