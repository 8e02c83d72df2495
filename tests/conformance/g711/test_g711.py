"""ITU-T G.711: the code is the one of the tables, for every sample and every octet, on every path that computes it."""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest

from flexosip.audio import companding
from flexosip.codecs import create

VECTORS = Path(__file__).parents[3].parent / "shared" / "corpus" / "vectors" / "g711_tables.json"
ALL_SAMPLES = array("h", range(-32768, 32768)).tobytes()
ALL_OCTETS = bytes(range(256))

ENCODERS = {
    "alaw": [companding.encode_alaw, companding._encode_alaw_pure],
    "ulaw": [companding.encode_ulaw, companding._encode_ulaw_pure],
}
DECODERS = {
    "alaw": [companding.decode_alaw, companding._decode_alaw_pure],
    "ulaw": [companding.decode_ulaw, companding._decode_ulaw_pure],
}


def alaw_by_table(sample: int) -> int:
    """G.711 table 1a, read from the decision values: 13-bit magnitudes, even bits inverted."""
    positive = sample >= 0
    magnitude = (sample if positive else ~sample) / 32768 * 4096
    edges = [0.0]
    for segment in range(8):
        step = 2.0 if segment < 2 else 2.0**segment
        edges += [edges[-1] + step * (n + 1) for n in range(16)]
    code = max(n for n in range(128) if edges[n] <= magnitude)
    return (code | (0x80 if positive else 0)) ^ 0x55


def ulaw_by_table(sample: int) -> int:
    """G.711 table 2a: decision values of the 14-bit magnitude, all bits inverted."""
    positive = sample >= 0
    magnitude = (sample if positive else ~sample) // 4
    edges = [0, 1]
    for segment in range(8):
        step = 2 << segment
        edges += [edges[-1] + step * (n + 1) for n in range(15 if segment == 0 else 16)]
    code = max(n for n in range(128) if edges[n] <= magnitude)
    return (~code & 0x7F) | (0x80 if positive else 0)


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    if not VECTORS.exists():
        pytest.skip(f"absent: {VECTORS}")
    return json.loads(VECTORS.read_text())


@pytest.mark.parametrize("encode", ENCODERS["alaw"])
def test_every_sample_gets_the_a_law_code_of_the_decision_table(encode: Any) -> None:
    assert encode(ALL_SAMPLES) == bytes(map(alaw_by_table, range(-32768, 32768)))


@pytest.mark.parametrize("encode", ENCODERS["ulaw"])
def test_every_sample_gets_the_mu_law_code_of_the_decision_table(encode: Any) -> None:
    assert encode(ALL_SAMPLES) == bytes(map(ulaw_by_table, range(-32768, 32768)))


@pytest.mark.parametrize(("law", "reference"), [("alaw", companding.linear_to_alaw), ("ulaw", companding.linear_to_ulaw)])
def test_the_one_sample_reference_is_the_code_of_all_paths(law: str, reference: Any) -> None:
    expected = bytes(map(reference, range(-32768, 32768)))
    assert all(encode(ALL_SAMPLES) == expected for encode in ENCODERS[law])


@pytest.mark.parametrize("law", ["alaw", "ulaw"])
def test_decoding_gives_the_corpus_table(law: str, vectors: dict[str, Any]) -> None:
    for decode in DECODERS[law]:
        assert list(array("h", decode(ALL_OCTETS))) == vectors[f"{law}2lin16"]


def test_a_law_encoding_has_the_corpus_hash(vectors: dict[str, Any]) -> None:
    for encode in ENCODERS["alaw"]:
        assert hashlib.sha256(encode(ALL_SAMPLES)).hexdigest() == vectors["sha256_lin2alaw_all"]


def test_mu_law_is_not_the_rounding_of_audioop_but_never_more_than_a_step_away(vectors: dict[str, Any]) -> None:
    # The corpus hash is audioop's, which rounds negative samples otherwise than the ITU's reference code.
    ours = companding.encode_ulaw(ALL_SAMPLES)
    assert hashlib.sha256(ours).hexdigest() != vectors["sha256_lin2ulaw_all"]
    if companding.audioop is None:
        pytest.skip("this Python has no audioop to compare with")
    theirs = companding.audioop.lin2ulaw(ALL_SAMPLES, 2)
    assert hashlib.sha256(theirs).hexdigest() == vectors["sha256_lin2ulaw_all"]
    differing = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    assert len(differing) == 508
    assert all(abs(a - b) == 1 for a, b in differing)


@pytest.mark.parametrize("name", ["PCMA", "PCMU"])
def test_decoding_and_encoding_again_keeps_every_code(name: str) -> None:
    codec = create(name, 8000)
    again = codec.encode(codec.decode(ALL_OCTETS))
    # Negative zero of the µ-law (0x7F) decodes to 0, which is positive zero: the one code that is not kept.
    changed = [octet for octet in range(256) if again[octet] != octet]
    assert changed == ([0x7F] if name == "PCMU" else [])


@pytest.mark.parametrize("name", ["PCMA", "PCMU"])
def test_silence_decodes_to_at_most_one_quantising_step(name: str) -> None:
    codec = create(name, 8000)
    assert codec.silence(160) == codec.encode(bytes(320))
    assert max(map(abs, array("h", codec.decode(codec.silence(160))))) <= 8


@pytest.mark.parametrize("law", ["alaw", "ulaw"])
@pytest.mark.parametrize("samples", [0, 1, 80, 159, 160, 4095, 4096, 4097, 20000])
def test_any_length_is_coded_the_same(law: str, samples: int) -> None:
    pcm = (ALL_SAMPLES * 2)[: 2 * samples]
    reference = {"alaw": companding.linear_to_alaw, "ulaw": companding.linear_to_ulaw}[law]
    expected = bytes(reference(sample) for sample in array("h", pcm))
    assert all(encode(pcm) == expected for encode in ENCODERS[law])


def test_the_fast_path_is_on_where_python_still_has_audioop() -> None:
    assert (companding._fast is not None) == (sys.version_info < (3, 13) and sys.byteorder == "little")
