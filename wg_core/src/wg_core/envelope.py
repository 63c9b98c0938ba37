"""The body of a job: versioned JSON that any language can write.

::

    {"v": 1,                         format version; a worker gives back what is newer than it knows
     "args": {"to": "ada@…"},        named parameters of the handler, a JSON object
     "timeout": 60.0,                seconds; null = none; absent = 300
     "retry_delay": 10.0,            seconds before the first retry; absent = 10
     "headers": {"traceparent": …}}  strings for middleware; absent = none

Everything the store itself must know (id, name, queue, priority, times, max_retries) travels beside the body in
`NewJob`.
"""

from __future__ import annotations

import msgspec

from wg_core.errors import PayloadError

ENVELOPE_VERSION = 1
DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_RETRY_DELAY_SECONDS = 10.0


class NewerEnvelopeError(PayloadError):
    """The body was written by a newer version of wg than this one."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The decoded body of a job; `args` stays raw JSON until the handler's own types decode it."""

    v: int
    args: msgspec.Raw = msgspec.Raw(b"{}")
    timeout: float | None = DEFAULT_TIMEOUT_SECONDS
    retry_delay: float = DEFAULT_RETRY_DELAY_SECONDS
    headers: dict[str, str] = {}


class _Version(msgspec.Struct):
    v: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)
_version_decoder = msgspec.json.Decoder(_Version)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the body bytes of a job."""
    return _encoder.encode(envelope)


def decode_envelope(body: bytes) -> Envelope:
    """Return the envelope of a body.

    Raises NewerEnvelopeError when its version is ahead of ours (whatever else it holds), PayloadError when it is no
    envelope at all.
    """
    try:
        envelope = _decoder.decode(body)
    except msgspec.DecodeError as error:
        _refuse_newer(body)
        raise PayloadError(f"the job's body is not a wg envelope: {error}") from error
    if envelope.v > ENVELOPE_VERSION:
        _refuse_newer(body)
    return envelope


def _refuse_newer(body: bytes) -> None:
    try:
        version = _version_decoder.decode(body).v
    except msgspec.DecodeError:
        return
    if version > ENVELOPE_VERSION:
        raise NewerEnvelopeError(f"envelope version {version} is newer than {ENVELOPE_VERSION}: upgrade this worker")
