"""What a cell has shown, as notebooks display it."""

from __future__ import annotations

import base64
from typing import Any

from ._models import CodeRunResult, Output


class CodeOutput(Output):
    """Something that a cell has shown: `data` by MIME type. A notebook displays it as it was shown there."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return dict(self.data), dict(self.metadata or {})

    @property
    def text(self) -> str | None:
        """As text."""
        return self.data.get("text/plain")

    @property
    def html(self) -> str | None:
        return self.data.get("text/html")

    @property
    def png(self) -> bytes | None:
        """The bytes of a picture, a plot for instance."""
        picture = self.data.get("image/png")
        return base64.b64decode(picture) if isinstance(picture, str) else None


class CodeResult(CodeRunResult):
    """How a cell ended, and what it has shown and printed. A notebook displays all of it."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.outputs = [CodeOutput(output) for output in fields["results"]]
        """What it has shown, in order."""

    @property
    def ok(self) -> bool:
        """True if it ended by itself, and without an exception."""
        return self.status == "ok"

    def _ipython_display_(self) -> None:
        from IPython.display import publish_display_data  # type: ignore[import-not-found,unused-ignore]

        if self.logs.stdout or self.logs.stderr:
            print(self.logs.stdout + self.logs.stderr, end="")
        for output in self.outputs:
            publish_display_data(*output._repr_mimebundle_())
        if self.error is not None:
            print("\n".join(self.error.traceback))
