"""Graphs that onnxruntime runs: without torch, one core a call, so that several threads may call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from intently.errors import MissingExtraError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def one_core(graph: Path | bytes) -> InferenceSession:
    """The session of a graph, a file or its content; raises MissingExtraError without onnxruntime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "serve") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    given = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
