"""What are the digits? Handwritten ones (Alpaydin and Kaynak, UCI 1998), read from the installed scikit-learn."""

from __future__ import annotations

import gzip
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ablation_suite.core.data.dataset import DataError, Dataset, Split
from ablation_suite.core.runs.files import sha256

if TYPE_CHECKING:
    import numpy as np

    from ablation_suite.core.data import Digits

SIDE = 8
MAXIMUM = 16


class DigitsSource:
    """The digits as a data set; scikit-learn is located, never imported, since that takes seconds."""

    def __init__(self, entry: Digits, *, data_root: Path, cache: Path):
        self.entry = entry

    def fingerprint(self) -> str:
        """SHA-256 of the text that all digits stand in."""
        return sha256(self._text)

    def load(self, progress: object = None) -> Dataset:
        """Read, scale from 0..16 to 0..255, resize and divide; in memory, a fraction of a second."""
        import numpy as np

        from ablation_suite.core.data.splits import stratified

        table = np.array(self._text.replace(b"\n", b",").rstrip(b",").split(b","), np.float32).astype(np.int64)
        table = table.reshape(-1, SIDE * SIDE + 1)
        labels = table[:, -1]
        grey = ((table[:, :-1] * 255 + MAXIMUM // 2) // MAXIMUM).astype(np.uint8).reshape(-1, SIDE, SIDE, 1)
        whole = np.repeat(grey, 3, axis=3)  # N H W 3
        images = {name: self._in_form(whole, name != "train") for name in ("train", "val", "test")}
        parts = zip(("train", "val", "test"), stratified(labels, (0.2, 0.2), self.entry.split_seed), strict=True)
        return Dataset(
            classes=tuple(map(str, range(10))),
            fingerprint=self.fingerprint(),
            splits={
                name: Split(images=images[name][rows], labels=labels[rows], names=tuple(f"{row:04d}" for row in rows))
                for name, rows in parts
            },
        )

    @cached_property
    def _text(self) -> bytes:
        found = find_spec("sklearn")
        if found is None or found.origin is None:
            raise DataError("digits: scikit-learn, which ships them, is not installed; pip install scikit-learn")
        return gzip.decompress(Path(found.origin).with_name("datasets").joinpath("data", "digits.csv.gz").read_bytes())

    def _in_form(self, images: np.ndarray, evaluated: bool) -> np.ndarray:
        import numpy as np
        from PIL import Image

        from ablation_suite.core.data.decode import in_form
        from ablation_suite.core.data.views import middle

        form = self.entry.form(evaluated=evaluated)
        if form.size != SIDE or form.preprocess.name != "none":
            images = np.stack([in_form(Image.fromarray(image), form) for image in images])
        return middle(images, self.entry.eval_crop) if evaluated else images  # type: ignore[return-value]
