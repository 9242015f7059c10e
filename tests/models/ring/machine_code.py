"""What the compiler made of a kernel: its optimised intermediate code, and machine code for any processor."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from numba import njit

_FUNCTION = re.compile(r"^define .*? @\"?([\w.]+)\"?\(.*?\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_ATOMIC = re.compile(r"(load atomic|store atomic|cmpxchg|atomicrmw|fence)\b.*?\b(monotonic|acquire|release|seq_cst)\b")

_WAYS_IN = ("_ZN7cpython", "cfunc")


class Atomic(NamedTuple):
    """An atomic operation in optimised code."""

    kind: str
    order: str
    repeats: bool
    """Whether it stands in a loop, so that a loop that waits looks again."""


class Compiled:
    """A kernel, compiled anew for this processor, with everything that it calls and without its way in from Python.

    Args:
        function: a compiled function of the project.
        arguments: numba's types of its arguments.
    """

    def __init__(self, function: Any, *arguments: Any) -> None:
        compiler: Any = njit
        compiled = compiler([arguments], nogil=True, _nrt=False)(function.py_func)
        self._module: str = next(iter(compiled.inspect_llvm().values()))
        self.assembly = _own(next(iter(compiled.inspect_asm().values())))

    def atomics(self) -> list[Atomic]:
        """All atomic operations, in no order that means anything."""
        return [atomic for body in self._functions() for atomic in _atomics(body)]

    def count(self, kind: str, order: str) -> int:
        return sum(atomic.kind == kind and atomic.order == order for atomic in self.atomics())

    def calls(self) -> set[str]:
        """Functions outside of the project that it calls, and that are not instructions."""
        called = {name for body in self._functions() for name in re.findall(r"\bcall [^\n@]*@\"?([\w.]+)", body)}
        return {name for name in called if not name.startswith(("llvm.", "_ZN7txqueue")) or name.startswith("llvm.mem")}

    def for_arm(self) -> str:
        """Assembly for 64-bit ARM with atomic instructions, as the same optimised code gives it."""
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        module = re.sub(
            r"^target .*$|^.*call void @llvm\.x86\.sse2\.pause\(\).*$", "", self._module, flags=re.MULTILINE
        )
        machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(opt=3, features="+lse")
        return _own(machine.emit_assembly(llvm.parse_assembly(module)))

    def _functions(self) -> Iterator[str]:
        for name, body in _FUNCTION.findall(self._module):
            if not name.startswith(_WAYS_IN):
                yield body


def _own(assembly: str) -> str:
    """Leaves out the ways in from Python and from C."""
    functions = re.findall(r"^(\w+):[^\n]*\n(.*?)^\.Lfunc_end", assembly, re.MULTILINE | re.DOTALL)
    return re.sub(r"[\t ]+", " ", "".join(body for name, body in functions if not name.startswith(_WAYS_IN)))


def _atomics(body: str) -> Iterator[Atomic]:
    blocks = dict(re.findall(r"^\"?([\w.-]+)\"?:[^\n]*\n(.*?)(?=^\"?[\w.-]+\"?:|\Z)", body, re.MULTILINE | re.DOTALL))
    leads_to = {name: set(re.findall(r"label %\"?([\w.-]+)", block)) for name, block in blocks.items()}
    for name, block in blocks.items():
        for kind, order in _ATOMIC.findall(block):
            yield Atomic(kind, order, name in _reachable(leads_to, name))


def _reachable(leads_to: dict[str, set[str]], start: str) -> set[str]:
    """Blocks that follow this one after one step or more."""
    reached: set[str] = set()
    ahead = list(leads_to[start])
    while ahead:
        block = ahead.pop()
        if block not in reached:
            reached.add(block)
            ahead += leads_to[block]
    return reached
