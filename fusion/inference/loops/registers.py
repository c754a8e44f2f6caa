"""Matrix products that are summed in vector registers, written in LLVM's own terms: numba's loops cannot say so.

A BLAS library copies both factors into an order of its own, which takes a fifth of the time where they are this narrow.
These read pixels as they are, and weights that were put in order once.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fusion.inference.loops.compiler import LANES

INDEX, WORD, FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
SUMS = ir.VectorType(FLOAT, LANES)


class BFloat(ir.Type):
    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def index(value: int) -> ir.Constant:
    return ir.Constant(INDEX, value)


def at(builder, array, kind: ir.Type, *offsets) -> ir.Value:
    """Where a `kind` stands in an array; offsets in numbers of its own type, or of a vector's elements."""
    element = getattr(kind, "element", kind)
    there = builder.bitcast(array.data, element.as_pointer())
    for offset in offsets:
        there = builder.gep(there, [offset if isinstance(offset, ir.Value) else index(offset)])
    return builder.bitcast(there, kind.as_pointer())


class Factors:
    """Multiplying vectors of b with single numbers of a: float32, or words of two bfloat16."""

    def __init__(self, bfloat16: bool):
        self.bfloat16 = bfloat16
        self.number = WORD if bfloat16 else FLOAT
        self.vector = ir.VectorType(self.number, LANES)
        self.unknown = ir.Constant(self.vector, ir.Undefined)
        self.everywhere = ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES)

    def one(self, builder, pointer) -> ir.Value:
        """The number there, in all places of a vector."""
        vector = builder.insert_element(self.unknown, builder.load(pointer, align=4), WORD(0))
        return builder.shuffle_vector(vector, self.unknown, self.everywhere)

    def multiply_add(self, builder, a, b, total) -> None:
        """Add a b to where total points."""
        given = builder.load(total)
        if self.bfloat16:
            pairs = ir.VectorType(BFloat(), 2 * LANES)
            name, kinds = "llvm.x86.avx512bf16.dpbf16ps.512", (SUMS, pairs, pairs)
            factors = (given, builder.bitcast(b, pairs), builder.bitcast(a, pairs))
        else:
            name, kinds, factors = f"llvm.fma.v{LANES}f32", (SUMS, SUMS, SUMS), (a, b, given)
        builder.store(call(builder, name, kinds, factors), total)


def totals(builder, *shape: int) -> list:
    """Sums that start from 0, to stay in registers: nested lists of that shape."""
    if shape:
        return [totals(builder, *shape[1:]) for _ in range(shape[0])]
    total = cgutils.alloca_once(builder, SUMS)
    builder.store(ir.Constant(SUMS, [0.0] * LANES), total)
    return total


def call(builder, name: str, kinds: tuple, values: tuple) -> ir.Value:
    """An LLVM function of vectors that gives such a one."""
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(SUMS, kinds), name), values)


def product_in_registers(rows: int, vectors: int, *, transposed: bool = False, bfloat16: bool = False):
    """tile(a, start, stride, i, b, j, out, y, x, n): `rows` by `vectors` * LANES of a product, out[y :, x :] = rows i
    and following of a times b[:n, j :].

    a is n numbers to a row from `start` of the flat array on, rows `stride` apart; transposed, rows are neighbours and
    the n numbers `stride` apart. bfloat16: a is uint16, b uint32 of two rows each (see `factor`).
    """
    factors = Factors(bfloat16)

    def generate(context, builder, signature, args):
        a, b, out = (context.make_array(signature.args[n])(context, builder, args[n]) for n in (0, 4, 6))
        start, stride, i, (j, y, x, n) = *args[1:4], (args[5], *args[7:])
        if bfloat16:  # two numbers are one word
            start, stride, n = (builder.lshr(v, index(1)) for v in (start, stride, n))
        sums = totals(builder, rows, vectors)
        width = builder.extract_value(b.shape, 1)
        lines = [builder.add(i, index(r)) for r in range(rows)]
        first = [builder.add(start, line if transposed else builder.mul(line, stride)) for line in lines]
        with cgutils.for_range(builder, n, intp=INDEX) as step:
            b_start = builder.add(j, builder.mul(step.index, width))
            places = [at(builder, b, factors.vector, b_start, v * LANES) for v in range(vectors)]
            right = [builder.load(place, align=4) for place in places]
            k = builder.mul(step.index, stride) if transposed else step.index
            for r in range(rows):
                left = factors.one(builder, at(builder, a, factors.number, first[r], k))
                for total, vector in zip(sums[r], right, strict=True):
                    factors.multiply_add(builder, left, vector, total)
        out_width = builder.extract_value(out.shape, 1)
        for r in range(rows):
            line = builder.mul(builder.add(y, index(r)), out_width)
            for v in range(vectors):
                builder.store(builder.load(sums[r][v]), at(builder, out, SUMS, line, x, v * LANES), align=4)
        return context.get_dummy_value()

    @intrinsic
    def tile(typing, a, start, stride, i, b, j, out, y, x, n):
        n_ = types.intp
        return types.void(a, n_, n_, n_, b, n_, out, n_, n_, n_), generate

    return tile
