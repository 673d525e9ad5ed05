"""Weights that every model begins with instead of random ones: train.init, a safetensors file whose
tensors have the names and shapes of the head's.

A file that pathoml wrote brings the projection that stood in front of its head, which is used as it
is instead of one fitted to each training fold; any other file is of a head that read the encoder's
own features, and gets them as they are. All seeds begin alike: they differ by dropout, and in a
tensor that the file lacks. A head says what may be lacking (`read_out`: weights for another
question come without one) and which names other programs give its tensors (`also_named`).

Source of the idea: Shao et al., Do Multiple Instance Learning Models Transfer?, ICML 2025,
arXiv:2506.09022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pathoml.bags.tile_bank import Projection
from pathoml.config import TrainConfig
from pathoml.errors import ConfigError
from pathoml.training.heads import is_solved
from pathoml.training.initial_origin import read_origin
from pathoml.training.model_stack import HeadSpec
from pathoml.training.models import HARMONISATION, PROJECTION_KEYS
from pathoml.types import Json

Shapes = Mapping[str, tuple[int, ...]]
WRAPPERS = ("module.", "model.")  # what torch and transformers put before every name
NARROWEST, WIDEST = 2, 4096  # hidden widths that study.yaml takes
MOST_NAMED = 6  # tensors of one kind that a sentence names


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """What a head begins with."""

    file: str
    sha256: str
    tensors: Mapping[str, Tensor]  # float32, by the head's names
    fresh: tuple[str, ...]  # tensors of the head that the file lacks
    left_out: tuple[str, ...]  # tensors of the file that the head has no use for
    projection: Projection  # in front of the head
    has_projection: bool  # the file's own, not the features as they are

    @property
    def in_dim(self) -> int:
        """What the head reads of a tile."""
        return int(self.projection[1].shape[-1])

    @property
    def tiles_seen(self) -> str:
        """Return a sentence for the log: how the models see the tiles."""
        if not self.has_projection:
            return f"tiles are seen with all features as they are, as the weights of {self.file} do"
        kind = f"{self.in_dim} components" if self.projection[1].ndim == 2 else "the scaling"
        return f"tiles are seen through {kind} that came with the weights of {self.file}"

    @property
    def in_words(self) -> str:
        """Return what the file is to the head, for whoever checks a study."""
        through = "through its own projection" if self.has_projection else "on features as they are"
        lacking = f"; {', '.join(self.fresh)} begins as usual" if self.fresh else ""
        unused = f"; {', '.join(self.left_out)} left out" if self.left_out else ""
        return f"{self.file} ({self.sha256[:12]}), {through}{lacking}{unused}"

    def noted(self, origin: Json) -> Json:
        """Return what provenance.json and bundle.json say: of the origin, and how it was used."""
        return {
            **origin,
            "begins_as_usual": list(self.fresh),
            "left_out": list(self.left_out),
            "has_projection": self.has_projection,
            "tiles_seen": self.tiles_seen,
        }

    def equal_seeds(self, train: TrainConfig) -> str:
        """Return a warning where nothing differs between seeds, "" where something does."""
        if train.seeds == 1 or train.dropout:
            return ""
        return (
            "All seeds begin with the same weights, and with train.dropout = 0 nothing differs"
            " between them. Set train.seeds to 1."
        )

    def start(self, head: nn.Module) -> None:
        """Put the weights into a head; what the file lacks stays as the head begins."""
        head.load_state_dict({**head.state_dict(), **self.tensors})


def read_initial_weights(train: TrainConfig, width: int) -> InitialWeights | None:
    """Read the weights of train.init for the head that study.yaml names; None where there is none.

    Args:
        width: of the embeddings, D.

    Raises:
        ConfigError: the head is solved, the file is not readable, or its tensors do not fit; says
            which, and what was expected.
    """
    if not train.init:
        return None
    refuse_solved(train)
    origin = read_origin(train)
    stored = {name: t.shape for name, t in origin.header.tensors.items()}
    names = _unwrapped(list(stored))  # of the file -> plain
    plain = {names[name]: shape for name, shape in stored.items()}
    # where the centres lay that those models were trained on says nothing of these
    centres = tuple(name for name in plain if name.startswith(HARMONISATION))
    plain = {name: shape for name, shape in plain.items() if name not in centres}
    own = {name: plain.pop(name) for name in PROJECTION_KEYS if name in plain}
    in_dim = _width_of_head(train, own, width)
    spec = HeadSpec.of_section(train, in_dim)
    fit = _Fit.of(spec, plain)
    if fit.wrong:
        raise ConfigError(
            f"{_where(train)} does not fit the head {train.head} (train.hidden = {train.hidden}) on"
            f" {in_dim} values a tile: {fit.wrong}.{_hint(spec, plain)}"
        )
    back = {plain_name: name for name, plain_name in names.items()}
    try:
        with safe_open(origin.path, framework="pt", device="cpu") as file:
            read = {
                key: _weights(file.get_tensor(back[source]), train, back[source], fit.shapes[key])
                for key, source in fit.source.items()
            }
            brought = [_weights(file.get_tensor(back[key]), train, back[key], shape)
                       for key, shape in own.items()]  # fmt: skip
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{_where(train)} cannot be read ({error}). Get it again.") from error
    mean, components = brought or (torch.zeros(width), torch.ones(width))
    return InitialWeights(
        file=origin.path.name,
        sha256=origin.sha256,
        tensors=read,
        fresh=fit.fresh,
        left_out=(*fit.left_out, *centres),
        projection=(mean, components),
        has_projection=bool(own),
    )


def refuse_solved(train: TrainConfig) -> None:
    """Raise ConfigError where initial weights are given to a head that is solved."""
    if train.init and is_solved(train):
        raise ConfigError(
            f"{_where(train)}: the head {train.head} is solved, so that nothing depends on where it"
            " begins. Remove train.init, or name a head that is trained, such as abmil."
        )


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """How the tensors of a file fit those of a head."""

    source: Mapping[str, str]  # tensor of the head -> of the file
    shapes: Shapes  # of the head's
    fresh: tuple[str, ...]
    left_out: tuple[str, ...]
    wrong: str  # what does not fit, "" where all does

    @classmethod
    def of(cls, spec: HeadSpec, stored: Shapes) -> _Fit:
        with torch.device("meta"):  # shapes alone
            head = spec.build()
        wanted = {name: tuple(value.shape) for name, value in head.state_dict().items()}
        also: Mapping[str, str] = getattr(head, "also_named", {})
        narrower: Sequence[str] = getattr(head, "may_be_narrower", ())
        of_others = not wanted.keys() & stored.keys() and bool(also.keys() & stored.keys())
        source = {also[n] if of_others else n: n for n in stored if not of_others or n in also}
        read_out: Sequence[str] = getattr(head, "read_out", ())
        unused = tuple(getattr(head, "left_out", ())) if of_others else ()
        left_out = [n for n in stored if unused and n.startswith(unused)]
        for name in read_out:  # of classes, say: the head's own begins instead
            if name in source and stored[source[name]] != wanted.get(name):
                left_out.append(source.pop(name))
        missing = [n for n in wanted if n not in source and n not in read_out]
        extra = [n for n in stored if n not in source.values() and n not in left_out]
        extra += [n for name, n in source.items() if name not in wanted]
        other = [
            name
            for name, n in source.items()
            if name in wanted
            and stored[n] != wanted[name]
            and not (of_others and name in narrower and _fits_into(stored[n], wanted[name]))
        ]
        parts = [
            ("missing", [f"{n} ({_sides(wanted[n])})" for n in missing]),
            ("not of this head", [f"{n} ({_sides(stored[n])})" for n in extra]),
            (
                "of another shape",
                [
                    f"{source[n]} ({_sides(stored[source[n]])} in the file, {_sides(wanted[n])}"
                    " expected)"
                    for n in other
                ],
            ),
        ]
        return cls(
            source={name: n for name, n in source.items() if name in wanted},
            shapes=wanted,
            fresh=tuple(n for n in wanted if n not in source),
            left_out=tuple(left_out),
            wrong="; ".join(f"{what} {_some(names)}" for what, names in parts if names),
        )


def _width_of_head(train: TrainConfig, own: Shapes, width: int) -> int:
    """Return what the head reads of a tile: through the file's projection, else all features."""
    wanted = train.projection
    if not own:
        if isinstance(wanted, int):
            raise ConfigError(
                f"{_where(train)} brings no projection, so that its head reads the features of the"
                f" encoder; train.projection = {wanted} would give it principal components of each"
                " fold, which are other numbers. Set train.projection to null."
            )
        return width
    shapes = [own.get(key, ()) for key in PROJECTION_KEYS]
    mean, components = shapes
    if len(mean) != 1 or components[:1] != mean or len(components) not in (1, 2):
        raise ConfigError(
            f"{_where(train)}: its projection has the shapes {_sides(mean)} and"
            f" {_sides(components)}; expected D, and D x K or D."
        )
    if mean[0] != width:
        raise ConfigError(
            f"{_where(train)}: its projection reads embeddings of {mean[0]} values, and those of"
            f" this study have {width}. Name the encoder that the weights were trained on."
        )
    of_file = components[1] if len(components) == 2 else None
    if wanted not in ("auto", of_file):
        raise ConfigError(
            f"{_where(train)} brings a projection of its own"
            f" ({f'{of_file} components' if of_file else 'a scaling'}), which train.projection ="
            f" {wanted if wanted is not None else 'null'} contradicts. Set it to auto."
        )
    return components[-1]


def _weights(value: Tensor, train: TrainConfig, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor in float32, filled up with zeros to the head's shape."""
    value = value.float()
    if not bool(torch.isfinite(value).all()):
        count = int((~torch.isfinite(value)).sum())
        raise ConfigError(
            f"{_where(train)}: {count} of the {value.numel()} values of {name} are not finite. No"
            " model can begin with them: get the file again, or save it in float32."
        )
    if tuple(value.shape) == shape:
        return value.contiguous()
    whole = torch.zeros(shape)
    whole[tuple(slice(side) for side in value.shape)] = value
    return whole


def _hint(spec: HeadSpec, stored: Shapes) -> str:
    """Return which train.hidden or width of embeddings the file would fit, "" where none does."""
    sides = sorted({side for shape in stored.values() for side in shape})
    hidden = [spec.hidden, *(s for s in sides if NARROWEST <= s <= WIDEST and s != spec.hidden)]
    for width, in_dim in product(hidden, [spec.in_dim, *(s for s in sides if s != spec.in_dim)]):
        if not _Fit.of(replace(spec, hidden=width, in_dim=in_dim), stored).wrong:
            set_hidden = f" Set train.hidden to {width}." if width != spec.hidden else ""
            other = (
                f" It is of a head that reads {in_dim} values a tile: name the encoder that it was"
                " trained on."
                if in_dim != spec.in_dim
                else ""
            )
            return f"{set_hidden}{other}"
    return (
        " Name the head that it was trained as, or write that head as ./my_head.py:Head"
        " (docs/extend.md)."
    )


def _unwrapped(names: Sequence[str]) -> dict[str, str]:
    """Return each name without what stands before all of them.

    >>> _unwrapped(["model.score.weight", "model.score.bias"])
    {'model.score.weight': 'score.weight', 'model.score.bias': 'score.bias'}
    """
    plain = {name: name for name in names}
    while wrapper := next(
        (w for w in WRAPPERS if all(one.startswith(w) for one in plain.values())), ""
    ):
        plain = {name: one.removeprefix(wrapper) for name, one in plain.items()}
    return plain


def _fits_into(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    return len(shape) == len(larger) and all(a <= b for a, b in zip(shape, larger))


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "none"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _where(train: TrainConfig) -> str:
    return f"study.yaml: train.init = {train.init!r}"
