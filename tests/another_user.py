"""Can these tests become another user, who imports what we import?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


def _why_not() -> str:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return "only root can become another user, by setpriv"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    asked = subprocess.run(
        [*nobody, sys.executable, "-c", "import click, ablation_suite"], capture_output=True, cwd="/"
    )
    return "" if asked.returncode == 0 else f"another user cannot import from {sys.prefix}"


needs_another_user = pytest.mark.skipif(bool(_why_not()), reason=_why_not())
