"""Our client against servers with faults: nothing lost, nothing doubled, and how often asked.

Issue 7. The server is that of our tests (tests/rewrite/server.py): of all requests 30 % meet a
closed connection, half an answer, 429 with a pause, 503, 500, a proxy's page, garbage, no choices,
or an answer after the time limit. Each reply tells which request it belongs to. Then the same by a
recipe over as many rows with two workers. With ``--vllm-python PATH`` (Python of an environment
with vLLM, see ../shared/DEPENDENCIES.md) and ``--model FOLDER`` a real server is started and asked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from benchmarks.measure import Report
from curation import Build, Jsonl, ModelServer, Recipe
from curation.annotate.model import Model, Request
from curation.audit import check_store
from curation.rewrite.journal import FILE_NAME
from curation.stage import PARENT, Rewriter, dataclass_transform_marker
from curation.store import Store
from tests.rewrite.server import Stand, reply_to, standing
