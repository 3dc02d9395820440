"""What torch is asked to do, in order, and that it is asked for no number."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

READS = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.is_nonzero",
    "aten.equal",
    "aten.unique",
    "aten.bincount",
)


class Operations(TorchDispatchMode):
    """What torch is asked to do, in order; reading a number is an error."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do without torch's compiler, which is imported to be told to skip this: 4 CPU s."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert not str(func).startswith(READS), f"{func} waits for the device"
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))
