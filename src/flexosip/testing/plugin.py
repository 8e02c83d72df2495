"""The pytest plugin: `phone`, `pbx`, `peer` and `network` on virtual time, for `async def` tests without any decorator.

    async def test_busy(phone):
        alice, bob = await phone("alice"), await phone("bob")
        bob.refuses(486)
        with pytest.raises(Busy):
            await alice.call("bob")

A coroutine test that uses one of the fixtures, and its async fixtures of function scope, run on the loop of the virtual clock, whatever
pytest-asyncio or anyio would do with them; all other tests are theirs as before. `@pytest.mark.sip_network(loss=0.05, seed=7)` sets the
network. When a test fails, its report has the SIP ladder. When it passes, its teardown checks that nothing is left.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flexosip.pbx import Pbx
    from flexosip.simulation import VirtualNetwork
    from flexosip.testing.peer import RawPeer
    from flexosip.testing.stage import PhoneOrder, Stage

__all__ = [
    "network",
    "pbx",
    "peer",
    "phone",
    "pytest_configure",
    "pytest_fixture_setup",
    "pytest_itemcollected",
    "pytest_runtest_makereport",
    "sip_stage",
]

_STAGE = "sip_stage"
_stage_of = pytest.StashKey["Stage"]()
_passed = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "sip_network(loss=0, duplicate=0, reorder=0, delay=0.01, jitter=0, seed=1, limit=600): the virtual network of this test of "
        "flexosip.testing, probabilities 0 to 1, seconds; limit is the virtual time that the test may take",
    )


# -- fixtures ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sip_stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The stage of this test: clock, network, PBX, phones, ladder."""
    from flexosip.testing.stage import Leftovers, Stage

    settings: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("sip_network"))):
        if marker.args:
            pytest.fail("sip_network takes named settings only, for example sip_network(loss=0.05, seed=7)", pytrace=False)
        settings.update(marker.kwargs)
    try:
        stage = Stage(**settings)
    except (TypeError, ValueError) as error:
        pytest.fail(f"sip_network: {error}", pytrace=False)
    request.node.stash[_stage_of] = stage
    with stage:
        yield stage
        try:
            # Of a test that failed anything may be left: that would only hide the reason.
            stage.close(check=request.node.stash.get(_passed, False))
        except Leftovers as leftovers:
            pytest.fail(str(leftovers), pytrace=False)


@pytest.fixture
def network(sip_stage: Stage) -> VirtualNetwork:
    """The virtual network: `network.change(loss=0.2)`, `network.link(a, b, delay=1)`, `network.clock`."""
    return sip_stage.network


@pytest.fixture
def pbx(sip_stage: Stage) -> Pbx:
    """The embedded PBX, running: users come with their phones."""
    return sip_stage.run(sip_stage.start_pbx())


@pytest.fixture
def phone(sip_stage: Stage) -> Callable[..., PhoneOrder]:
    """Makes phones: `await phone("alice")` is registered at the PBX, `await phone()` has no account."""
    return sip_stage.phone


@pytest.fixture
def peer(sip_stage: Stage) -> Callable[..., Awaitable[RawPeer]]:
    """Makes scripted peers: `await peer()`; what they send and when is the test's."""
    return sip_stage.peer


# -- coroutine tests on virtual time -----------------------------------------------------------------------------------------------


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a coroutine test that uses the stage run on its clock."""
    if _is_on_stage(item) and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        # Past the subclasses with which other plugins replace coroutine tests: those bring a loop of their own.
        item.setup = functools.partial(pytest.Function.setup, item)  # type: ignore[method-assign]
        item.runtest = functools.partial(_run_on_clock, item)  # type: ignore[method-assign]


def _is_on_stage(item: pytest.Item) -> bool:
    """True for a test that uses a fixture of ours, directly or through others; not for one of the same name."""
    information = getattr(item, "_fixtureinfo", None)
    definitions: Any = information.name2fixturedefs.get(_STAGE) if information is not None else None
    return bool(definitions) and definitions[-1].func.__module__ == __name__


def _run_on_clock(item: pytest.Function) -> None:
    stage: Stage = item._request.getfixturevalue(_STAGE)
    coroutine_function = item.obj

    @functools.wraps(coroutine_function)
    def test(**arguments: Any) -> None:
        stage.run(coroutine_function(**arguments))

    item.obj = test
    try:
        with warnings.catch_warnings():
            # pytest-asyncio in strict mode, of a test with its mark: it does not know that the fixtures are ours.
            warnings.filterwarnings("ignore", message="asyncio test .* requested async")
            pytest.Function.runtest(item)
    finally:
        item.obj = coroutine_function


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    """Let the async fixtures of such a test run on its clock as well."""
    function: Any = fixturedef.func
    is_coroutine, is_generator = inspect.iscoroutinefunction(function), inspect.isasyncgenfunction(function)
    if not (is_coroutine or is_generator) or fixturedef.scope != "function" or not _is_on_stage(request.node):
        return (yield)
    stage: Stage = request.getfixturevalue(_STAGE)
    bound = function
    if request.instance is not None and isinstance(request.instance, type(getattr(function, "__self__", None))):
        bound = function.__func__.__get__(request.instance)  # the fixture's class was made anew for this test
    fixturedef.func = (_generator_fixture if is_generator else _coroutine_fixture)(stage, bound)  # type: ignore[misc]
    try:
        return (yield)
    finally:
        fixturedef.func = function  # type: ignore[misc]


def _coroutine_fixture(stage: Stage, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def fixture(**arguments: Any) -> Any:
        return stage.run(function(**arguments))

    return _plain(fixture)


def _generator_fixture(stage: Stage, function: Callable[..., AsyncGenerator[Any, None]]) -> Callable[..., Any]:
    @functools.wraps(function)
    def fixture(**arguments: Any) -> Iterator[Any]:
        generator = function(**arguments)
        yield stage.run(_next(generator))
        with contextlib.suppress(StopAsyncIteration):
            stage.run(_next(generator))
            pytest.fail(f"the async fixture {function.__name__} yields more than once", pytrace=False)

    return _plain(fixture)


async def _next(generator: AsyncGenerator[Any, None]) -> Any:
    return await anext(generator)


def _plain(fixture: Callable[..., Any]) -> Callable[..., Any]:
    """Without the marks of other plugins, which would take it for a coroutine again."""
    fixture.__dict__.clear()
    return fixture


# -- the ladder of a test that failed ------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ladder to the report of a failure."""
    report = yield
    stage = item.stash.get(_stage_of, None)
    if stage is not None:
        if call.when == "call":
            item.stash[_passed] = report.passed
        if report.failed:
            title = f"SIP ladder (seed {stage.network.seed}, {stage.clock.now:.2f} s of virtual time)"
            report.sections.append((title, stage.ladder() or "no SIP message was sent"))
    return report
