"""The pytest plugin in a pytest of its own: its fixtures, other async plugins beside it, what a failure shows, what is left."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SOURCE = Path(__file__).parents[3] / "src"
PROMPTS = SOURCE / "flexosip" / "apps" / "bell" / "prompts" / "en"

ALONE = ("-p", "no:asyncio", "-p", "no:anyio")
GREETING = f"""
import asyncio
import pytest
from flexosip import Busy, Tone

WELCOME = {str(PROMPTS / "welcome.wav")!r}
OFF = {str(PROMPTS / "off.wav")!r}

@pytest.fixture
async def answering(phone):
    bob = await phone("bob")
    bob.answers(play=WELCOME)
    yield bob
    await asyncio.sleep(1)
    assert not bob.calls
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run the text of a test file with the plugin in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))

    def run_text(text: str, *options: str, before: str = GREETING) -> pytest.RunResult:
        pytester.makepyfile(before + text)
        options = options or ALONE
        return pytester.runpytest_subprocess("-p", "flexosip.testing.plugin", "-p", "no:cacheprovider", "-W", "error", *options)

    return run_text


GOOD = """
async def test_a_minute_of_call(phone):
    alice, bob = await phone("alice"), await phone("bob")
    bob.answers(after=2, play=WELCOME)
    async with alice.call("bob") as call:
        await call.heard(WELCOME, within=3)
        await asyncio.sleep(60)
        other = await bob.wait_call()
        await call.send_digits("12#")
        await other.heard_digits("12#")

class TestInAClass:
    async def test_with_an_async_fixture_of_the_users(self, answering, phone):
        alice = await phone("alice")
        call = await alice.call("bob")
        await call.heard(WELCOME)
        await call.hangup()

@pytest.mark.parametrize("status", [486, 600])
async def test_busy(phone, status):
    alice, bob = await phone("alice"), await phone()
    bob.refuses(status)
    with pytest.raises(Busy):
        await alice.call("sip:10.0.0.3")

def test_without_async(pbx, phone, network):
    async def story():
        async with phone("alice"):
            assert len(pbx.bindings("alice")) == 1
    network.clock.run(story())

def test_without_any_telephony():
    pass
"""

OTHERS = """
async def test_of_the_other_plugin(tmp_path):
    loop = asyncio.get_running_loop()
    assert "virtual" not in type(loop).__name__.lower()
"""


def test_coroutine_tests_run_on_virtual_time_without_any_other_plugin(run) -> None:  # type: ignore[no-untyped-def]
    result = run(GOOD, *ALONE, "--durations=0", "--durations-min=15.0")
    result.assert_outcomes(passed=6)
    # A minute and more of virtual time: none of them takes a quarter of that, also where other programs want the processor.
    assert "::test_" not in result.stdout.str().split("slowest")[-1]


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_pytest_asyncio_keeps_its_own_tests_and_leaves_ours_alone(run, mode: str) -> None:  # type: ignore[no-untyped-def]
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    text = GOOD + mark + OTHERS
    run(text, "-p", "no:anyio", "-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function").assert_outcomes(passed=7)


def test_tests_marked_for_pytest_asyncio_run_on_virtual_time_too(run) -> None:  # type: ignore[no-untyped-def]
    text = "pytestmark = pytest.mark.asyncio\n" + GOOD.split("def test_without_async")[0] + OTHERS
    options = ("-p", "no:anyio", "-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
    run(text, *options).assert_outcomes(passed=5)


def test_anyio_keeps_its_own_tests_and_leaves_ours_alone(run) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("anyio", reason="anyio is not installed")
    backend = '\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    run(backend + GOOD + "@pytest.mark.anyio" + OTHERS, "-p", "no:asyncio").assert_outcomes(passed=7)


def test_a_failure_shows_what_was_heard_and_the_ladder(run) -> None:  # type: ignore[no-untyped-def]
    result = run("""
@pytest.mark.sip_network(loss=0.02, seed=5)
async def test_wrong_prompt(answering, phone):
    alice = await phone("alice")
    async with alice.call("bob") as call:
        await call.heard(OFF, within=1)
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "*await call.heard(OFF, within=1)*",
        "E*AssertionError: *off.wav was to begin by * s and was heard not: *",
        "E*Heard from * dBFS overall, * stretch* of sound:*",
        "E* s  -* dBFS, speech, music or noise*",
        "E*Keys: none.*",
        "*SIP ladder (seed 5, * s of virtual time)*",
        "*pbx*bob*alice*",
        "*REGISTER*",
        "*INVITE bob*",
    ])


def test_what_a_test_leaves_behind_is_told(run) -> None:  # type: ignore[no-untyped-def]
    result = run("""
async def test_task(network):
    asyncio.get_running_loop().left = asyncio.create_task(asyncio.sleep(1e6), name="mine")

async def test_socket(network):
    network.keep = network.host().bind_media("10.0.0.1", 7000)

async def test_await(answering, phone):
    async with (await phone("alice")).call("bob") as call:
        call.heard(WELCOME)

async def test_a_call_that_the_stage_ends(phone):
    alice, bob = await phone("alice"), await phone("bob")
    bob.answers()
    call = await alice.call("bob")
""")
    result.assert_outcomes(passed=4, errors=3)
    left = "*left behind at the end of the test: "
    result.stdout.fnmatch_lines([
        f"{left}a task still runs: *mine*",
        f"{left}a socket is open: *7000*",
        f"{left}an expectation was never awaited: await call.heard(*",
    ])


def test_a_test_that_never_ends_fails_instead_of_hanging(run) -> None:  # type: ignore[no-untyped-def]
    result = run("""
@pytest.mark.sip_network(limit=30)
async def test_endless(answering, phone):
    alice = await phone("alice")
    async with alice.call("bob") as call:
        await call.wait_ended()

async def test_standstill(network):
    await asyncio.get_running_loop().create_future()
""")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*The test takes more than 30 s of virtual time*"])


def test_a_wrong_setting_of_the_network_is_told_in_words(run) -> None:  # type: ignore[no-untyped-def]
    result = run("""
@pytest.mark.sip_network(losss=0.1)
async def test_misspelt(network):
    pass

@pytest.mark.sip_network(loss=20)
async def test_no_probability(network):
    pass

@pytest.mark.sip_network(0.2)
async def test_without_name(network):
    pass
""")
    result.assert_outcomes(errors=3)
    told = ["*sip_network: *losss*", "*sip_network: loss is a probability*", "*sip_network takes named settings only*"]
    result.stdout.fnmatch_lines(told)


def test_fixtures_of_the_same_name_of_the_users_own_stay_theirs(run) -> None:  # type: ignore[no-untyped-def]
    result = run("""
@pytest.fixture
def phone():
    return "a telephone"

@pytest.fixture
def network():
    return "a network"

@pytest.mark.asyncio
async def test_theirs(phone, network):
    assert (phone, network) == ("a telephone", "a network")
    assert "Virtual" not in type(asyncio.get_running_loop()).__name__

async def test_ours_beside_them(pbx, network):
    assert network == "a network" and pbx.addresses
    assert "Virtual" in type(asyncio.get_running_loop()).__name__
""", "-p", "no:anyio", "-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
    result.assert_outcomes(passed=2)


def test_who_does_not_use_it_pays_no_import_of_flexosip(run) -> None:  # type: ignore[no-untyped-def]
    result = run(
        """
import sys

def test_lazy():
    assert not {name for name in sys.modules if name.startswith("flexosip.")} - {"flexosip.testing", "flexosip.testing.plugin"}
""",
        before="",
    )
    result.assert_outcomes(passed=1)
