"""The WebSocket channel against octets of all kinds: messages, or one error that closes, and never anything else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from flexosip.net.websocket import LARGEST_MESSAGE, WebSocketChannel
from flexosip.sip.grammar import SipParseError
from tests.conformance.rfc7118_websocket.raw_websocket import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame


def opened() -> tuple[WebSocketChannel, WebSocketChannel]:
    """Both ends after the opening."""
    client, server = WebSocketChannel("a.test"), WebSocketChannel()
    assert server.receive(client.owed()) == []
    client.receive_opening(server.owed())
    assert client.open and server.open
    return client, server


def read(channel: WebSocketChannel, data: bytes, sizes: list[int]) -> tuple[list[bytes], bool]:
    """The messages in `data` when it comes in pieces of these sizes in turn, and whether the channel gave up."""
    messages: list[bytes] = []
    position, turn = 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        try:
            messages += channel.receive(data[position : position + size])
        except SipParseError:
            assert channel.error is not None
            assert channel.over
            return messages, True
        channel.owed()
        if channel.error is not None:
            return messages, True
        position, turn = position + size, turn + 1
    return messages, channel.over


sizes = st.lists(st.integers(1, 2000), min_size=1, max_size=5)
frames = st.builds(
    frame,
    st.sampled_from([TEXT, BINARY, CONTINUATION, PING, CLOSE, 3, 11]),
    st.binary(max_size=300),
    final=st.booleans(),
    masked=st.sampled_from([True, True, True, False]),
    reserved=st.sampled_from([0, 0, 0, 1]),
)


@given(st.lists(st.binary(min_size=1, max_size=400), max_size=6), sizes, st.sampled_from([TEXT, BINARY]))
def test_what_one_end_sends_the_other_gets_whatever_the_pieces(messages: list[bytes], sizes: list[int], opcode: int) -> None:
    sent = [message for message in messages if message.strip(b"\r\n")]
    for index in (0, 1):
        ends = opened()
        data = b"".join(ends[index].wrap(message) for message in sent)
        assert read(ends[1 - index], data, sizes) == (sent, False)
        assert not ends[1 - index].pending


@given(st.lists(frames, max_size=8).map(b"".join) | st.binary(max_size=600), sizes)
@example(frame(TEXT, b"", length=2**64 - 1), [1])
@example(frame(CLOSE, b"\x03\xe8") + b"\xff" * 50, [7])
def test_any_octets_give_messages_or_one_error_and_the_pieces_do_not_matter(data: bytes, sizes: list[int]) -> None:
    whole = read(opened()[1], data, [len(data) or 1])
    assert read(opened()[1], data, sizes) == whole
    read(opened()[0], data, sizes)


@given(
    st.binary(max_size=400) | st.from_regex(rb"GET /[a-z]* HTTP/1\.[01]\r\n(?:[A-Za-z-]+: [ -~]*\r\n){0,5}\r\n.{0,20}", fullmatch=True),
    sizes,
)
def test_any_opening_is_answered_or_refused(data: bytes, sizes: list[int]) -> None:
    messages, _ = read(WebSocketChannel(), data, sizes)
    assert messages == []
    client = WebSocketChannel("a.test")
    client.owed()
    read(client, data, sizes)


def test_a_message_of_the_largest_size_passes_and_one_octet_more_does_not() -> None:
    for extra in (0, 1):
        _, server = opened()
        data = frame(BINARY, b"x" * (LARGEST_MESSAGE + extra))
        messages, over = read(server, data, [60_000])
        assert (len(messages), over) == (1 - extra, bool(extra))
